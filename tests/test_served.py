"""The served/ folder that training and the API share: source templates and the regression head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from t5sum.served.classifier import Features, Linear, Regression, TextModel
from t5sum.served.template import BadTemplate, Template


@pytest.mark.parametrize(
    ("template", "values", "source"),
    [
        ("summarize: {text}", {"text": "Мост открыли."}, "summarize: Мост открыли."),
        ("[{title}. ]{text}", {"title": "Мост", "text": "Открыли."}, "Мост. Открыли."),
        ("[{title}. ]{text}", {"title": "", "text": "Открыли."}, "Открыли."),
        ("[{title}. ]{text}", {"text": "Открыли."}, "Открыли."),
        ("[{sign}, {date}]{text}", {"sign": "Овен", "date": "", "text": "а"}, "а"),
        ("[{title}\n{title}\n]{text}", {"title": "т", "text": "а"}, "т\nт\nа"),
        ("[[{{{text}}}]]", {"text": "[{title}]"}, "[{[{title}]}]"),
    ],
)
def test_a_template_is_filled(template: str, values: dict[str, str], source: str) -> None:
    assert Template(template).fill(values) == source


def test_a_template_names_its_columns() -> None:
    template = Template("[{title}. ]{text} {title}")
    assert template.columns == ("title", "text")
    assert Template("[{title}. ]{text}").required == {"text"}


@pytest.mark.parametrize(
    "template", ["", "text", "{Text}", "{text", "text}", "[{text}", "{text}]", "{a.b}", "{}"]
)
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(BadTemplate):
        Template(template)


def regression(columns: int) -> Regression:
    return Regression(np.arange(columns, dtype=np.float32), np.array([0.5], np.float32))


def test_a_regression_is_saved_and_gives_the_same_numbers(tmp_path: Path) -> None:
    features = (Features("words", 1, 1, 4),)
    model = TextModel(features, np.ones(16, np.float32), regression(16))
    model.save(tmp_path / "model.safetensors")
    again = TextModel.load(tmp_path / "model.safetensors")
    texts = ["хороший сериал", "скучно", ""]
    assert again.predict(texts).tolist() == model.predict(texts).tolist()
    assert again.predict([""])[0] == 0.5  # a text without a word gives the intercept
    assert again.topics == 0
    with pytest.raises(TypeError):
        again.predict_proba(texts)


def test_a_regression_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = TextModel((Features("words", 1, 1, 4),), np.ones(16, np.float32), regression(15))
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="coefficients"):
        TextModel.load(tmp_path / "model.safetensors")


def test_a_classifier_has_no_number() -> None:
    head = Linear(np.zeros((16, 1), np.float16), np.zeros(1, np.float32))
    with pytest.raises(TypeError):
        TextModel((Features("words", 1, 1, 4),), np.ones(16, np.float32), head).predict(["а"])
