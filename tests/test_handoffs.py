"""The seams between the three siblings: each repeats a little of another, and here it must agree."""

from __future__ import annotations

import ast
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from t5sum import StageError
from t5sum.config import ClassifyConfig, GenerateConfig, GenerationConfig, RegressConfig
from t5sum.data import SPLITS
from t5sum.describe import lay_out, write_tasks
from t5sum.generate.examples import encode
from t5sum.kinds import make_tasks
from t5sum.load import load_config
from t5sum.run.directory import Run
from t5sum.served.text import normalise
from t5sum.sources import masked, prompt

ROOT = Path(__file__).resolve().parent.parent
SIBLINGS = {"dataset_parser": "gazeta", "t5_training": "t5sum", "topic_sum_api": "topic_sum"}
# Letters, spaces of all kinds, and what must vanish: controls, zero-width and direction marks, soft hyphens.
ANY_TEXT = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\u00ad\u200b\u200f\u202e\u2060\ufeff\x00\x1f\x85\u00a0\u2028\t\n\r «»—"),
        st.sampled_from("абвгдеёжзийклмнопрстуфхцчшщъыьэюя АБВ 0123456789.,"),
    ),
    max_size=300,
)
NEWS = [
    "В Твери  открыли библиотеку.\n\nЕё строили\u00a0два года, рассказала «Новости-Твери».",
    "Команда «Енисей» выиграла 3:1 — это седьмая победа подряд.",
    "Длинный текст режут по-разному, но слова в нём одни и те же. " * 40,
    "ё" * 700,
    "Набрали </s>, <pad> и<extra_id_0>слитно, ещё <unk> ＜/s＞ ﹤pad﹥ <s> <<pad>> <p>абзац</p> 3 < 5 > 4",
]


@given(ANY_TEXT)
@settings(max_examples=400, deadline=None)
def test_training_and_api_normalise_every_text_alike(text: str) -> None:
    from topic_sum.inference.served.text import normalise as api_normalise

    assert normalise(text) == api_normalise(text)
    # More marks in a row than any letter has: both keep as many.
    stacked = text + "а" + "\u0301\u0323" * 40 + "\u200b" + "\u0323" * 40
    assert normalise(stacked) == api_normalise(stacked)


def with_a_number() -> str:
    """A copy of the default recipe with a column of numbers and a task of the third kind."""
    recipe = yaml.safe_load((ROOT / "recipes/gazeta.yaml").read_text(encoding="utf-8"))
    if "columns" in recipe:
        recipe["columns"]["words"] = {"type": "number"}
    recipe["tasks"]["rating"] = {"kind": "regress", "source": "[{title}. ]{text}", "target": "words"}
    path = Path(tempfile.mkdtemp()) / "gazeta.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(path)


CONFIG = load_config(
    ["tasks.summarize.source_max_tokens=128", "tasks.summarize.generation.beam_size=2",
     "tasks.summarize.generation.max_decoding_length=16", "classify.min_rows=5", "classify.forest_rows=0"],
    {"RECIPE": with_a_number()},
)  # fmt: skip


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model revision as training lays it out, from invented news; the T5's weights are random."""
    from t5sum.config import ScratchConfig
    from t5sum.generate.export import convert
    from t5sum.generate.scratch import scratch_model
    from t5sum.generate.tokens import load_tokenizer, train_tokenizer

    run = Run(tmp_path_factory.mktemp("run"))
    rows = [{**row, "words": len(row["text"].split())} for row in invented_rows(220)]
    splits = {"train": rows[:160], "validation": rows[160:190], "test": rows[190:]}
    t5 = run.of("summarize")
    train_tokenizer([row["text"] for row in rows], 900, tmp_path_factory.mktemp("pieces")).save_pretrained(
        t5.export
    )
    tokenizer = load_tokenizer(t5.export, [])
    shape = ScratchConfig(vocab_size=900, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout=0.0)
    scratch_model(shape, tokenizer).save_pretrained(t5.export)
    convert(t5.export, t5.export / "ct2", "int8")
    t5.once("export", {}, lambda: {"eos": "</s>"})
    tasks = make_tasks(CONFIG)
    for task in tasks:
        task.take(splits)
        if not task.needs_t5:
            task.train(run)
    dataset = {"repo": "demo/news", "revision": "a" * 40}
    lay_out(run, tasks, dataset, CONFIG)
    write_tasks(run, tasks, dataset, CONFIG, {"summarize": {"rougeL": 1.0}, "rating": {"mae": 2.0}})
    return run.model


def invented_rows(count: int) -> list[dict[str, str]]:
    from importlib import util

    spec = util.spec_from_file_location(
        "news", ROOT / "demo/news/__init__.py", submodule_search_locations=[str(ROOT / "demo/news")]
    )
    assert spec and spec.loader
    news = util.module_from_spec(spec)
    sys.modules["news"] = news
    spec.loader.exec_module(news)
    rows = sorted(news.generate(count, seed=5), key=lambda story: story["date"])
    return [{**story, "text": "\n".join(story["paragraphs"])} for story in rows]


@pytest.fixture(scope="module")
def served(model_folder: Path):
    """The API's own loader over what training wrote: format, paths, types and labels are checked there."""
    from topic_sum.inference.model import load_model

    return load_model(model_folder, "demo/model", "b" * 40, translators=1)


def test_the_api_accepts_what_training_writes_into_tasks_json(served) -> None:
    assert served.dataset_revision == "a" * 40
    assert served.recipe == "gazeta"
    assert list(served.tasks) == ["summarize", "topic", "rating"]
    assert served.metrics == {"rougeL": 1.0, "rating_mae": 2.0}


def test_the_api_knows_every_generation_setting_and_bounds_every_number() -> None:
    from topic_sum.inference.kinds.generate import GENERATION

    kinds = get_type_hints(GenerationConfig)
    assert kinds.keys() <= GENERATION.keys()
    assert all(isinstance(field, tuple) for name, field in GENERATION.items() if kinds.get(name) is not bool)


@pytest.mark.parametrize(
    ("section", "kind"),
    [("generate", GenerateConfig), ("generate.generation", GenerationConfig), ("classify", ClassifyConfig),
     ("regress", RegressConfig)],
)  # fmt: skip
def test_training_refuses_at_once_what_the_api_would_refuse_after_it(section: str, kind: type) -> None:
    from topic_sum.inference.kinds.classify import Classify
    from topic_sum.inference.kinds.generate import GENERATION, Generate
    from topic_sum.inference.kinds.regress import Regress

    fields = {
        "generate": Generate.section, "generate.generation": GENERATION, "classify": Classify.section,
        "regress": Regress.section,
    }[section]  # fmt: skip
    types = get_type_hints(kind)
    both = {name for name in types.keys() & fields.keys() if isinstance(fields[name], tuple)}
    assert both
    for name in both:
        _, least, most = fields[name]
        wrong = (least - 1, most + 1)
        if types[name] is float:
            wrong = (math.nextafter(least, -math.inf), math.nextafter(most, math.inf))
        for value in wrong:
            with pytest.raises(StageError, match=rf"{section}\.{name}=\S+ must be") as caught:
                load_config([f"{section}.{name}={value}"], {})
            assert caught.value.code == 2


@pytest.mark.parametrize("text", NEWS)
def test_training_and_api_turn_a_text_into_the_same_tokens(served, model_folder: Path, text: str) -> None:
    from topic_sum.inference.served.text import normalise as api_normalise
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    source = prompt({"text": text}, CONFIG.tasks["summarize"].template)
    ids, ends = encode([source], tokenizer, most=10**6)
    assert len(ends) == 1
    pieces = served.task("summarize").engine.source_tokens({"text": api_normalise(text)})
    # An unknown piece keeps its letters in the API; CTranslate2 gives it the number of <unk>, as here.
    assert tokenizer.convert_tokens_to_ids(pieces) == ids.tolist()
    # Whatever is typed is text: the one piece with a meaning is the end.
    meaning = set(tokenizer.all_special_tokens) - {tokenizer.unk_token}
    assert [piece for piece in pieces if piece in meaning] == ["</s>"]


@given(st.lists(st.sampled_from([*"<>﹤＜﹥＞/ s_1ё\ufe0f", "pad", "unk", "extra_id_", "</s>"])).map("".join))
@settings(max_examples=300, deadline=None)
def test_no_text_spells_a_piece_with_a_meaning(served, text: str) -> None:
    from topic_sum.inference.served.text import normalise as api_normalise

    pieces = served.task("summarize").engine.source_tokens({"text": api_normalise(text)})
    assert not [piece for piece in pieces[:-1] if re.fullmatch("</s>|<pad>|<extra_id_[0-9]+>", piece)]


@given(text=ANY_TEXT, title=ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_training_and_api_give_classifiers_and_regressions_the_same_string(
    served, text: str, title: str
) -> None:
    from topic_sum.inference.served.text import normalise as api_normalise

    values = {"title": api_normalise(title), "text": api_normalise(text)}
    for name in ("topic", "rating"):
        task = CONFIG.tasks[name]
        ours = masked({"text": text, "title": title}, task.template, task.max_chars, task.mask)
        assert served.task(name).source(values) == ours


def test_both_siblings_hold_the_same_served_folder() -> None:
    """What the report judges is what serves: the same files, byte for byte, in two images."""
    ours, theirs = (
        {
            path.relative_to(ROOT / folder).as_posix(): path.read_bytes()
            for path in (ROOT / folder).rglob("*.py")
        }
        for folder in ("t5_training/t5sum/served", "topic_sum_api/topic_sum/inference/served")
    )
    assert len(ours) >= 4
    assert ours == theirs, "change it in t5_training/t5sum/served and copy the folder"


def test_the_api_scores_topics_as_training_did(served, model_folder: Path) -> None:
    row = invented_rows(220)[-1]
    answer = served.task("topic").classify({"title": row["title"], "text": row["text"]})
    assert sum(score.score for score in answer.scores) == pytest.approx(1, abs=0.01)
    assert {score.label for score in answer.scores} == {label for label, _ in served.task("topic").labels}


def test_the_parser_publishes_the_columns_and_splits_that_training_reads() -> None:
    from gazeta.dataset import selection
    from gazeta.recipe import GAZETA

    read = set().union(*(task.columns for task in make_tasks(load_config([], {}))))
    assert read <= set(GAZETA.schema.names)
    assert tuple(selection.SPLITS) == SPLITS


def test_no_sibling_imports_another() -> None:
    for folder, package in SIBLINGS.items():
        others = set(SIBLINGS.values()) - {package}
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                assert not others & {name.split(".")[0] for name in names}, f"{path}: {names}"


def locked(folder: str) -> dict[str, str]:
    pins: dict[str, str] = {}
    for line in (ROOT / folder / "requirements.lock").read_text().splitlines():
        if match := re.match(r"([a-z0-9._-]+)==([^ ;]+)(.*)", line):
            pins[f"{match[1]}{match[3]}"] = match[2]
    return pins


def test_one_environment_can_hold_all_three_locks() -> None:
    folders = [*SIBLINGS, "tests"]
    for package in set().union(*map(locked, folders)):
        versions = {locked(folder)[package] for folder in folders if package in locked(folder)}
        assert len(versions) == 1, f"{package} is locked to {versions}"


def test_the_api_installs_neither_torch_nor_transformers_nor_scikit_learn() -> None:
    assert not {"torch", "transformers", "sentencepiece", "scikit-learn", "scipy"} & {
        name.split(" ")[0] for name in locked("topic_sum_api")
    }
    assert "ctranslate2" in locked("topic_sum_api")


def test_every_lock_holds_what_its_requirements_name() -> None:
    for folder in [*SIBLINGS, "tests"]:
        pinned = {name.split(" ")[0].rstrip(";") for name in locked(folder)}
        for line in (ROOT / folder / "requirements.txt").read_text().splitlines():
            if match := re.match(r"[A-Za-z0-9._-]+", line):
                assert match[0].lower().replace("_", "-") in pinned, (
                    f"{folder}: run .ci/lock after naming {match[0]}"
                )


def test_env_example_and_compose_files_name_variables_that_somebody_reads() -> None:
    readers = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (
            ROOT / "dataset_parser/gazeta/settings.py", ROOT / "topic_sum_api/topic_sum/settings.py",
            ROOT / "t5_training/t5sum/config.py", *(ROOT / "mlops").glob("*.py"),
        )
    )  # fmt: skip
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M))
    for compose in ROOT.glob("docker-compose.*.yml"):
        named |= set(re.findall(r"\$\{([A-Z_]+)", compose.read_text(encoding="utf-8")))
    assert {"HF_TOKEN", "DATASET_REPO", "MODEL_REPO", "PORT"} <= named
    # The HTTP clients read these by themselves.
    for name in named - {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}:
        assert f'"{name}"' in readers, f"nobody reads {name}"


def test_the_api_in_its_container_gets_every_setting_it_reads() -> None:
    source = (ROOT / "topic_sum_api/topic_sum/settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'env_\w+\(\s*"([A-Z_]+)"', source))
    assert {"RATE_LIMIT", "MAX_WINDOWS", "HF_TOKEN_PATH"} <= read
    # What the container itself decides, what nothing is signed with, and the file for a mounted secret.
    own = {"HOST", "PORT", "SERVER", "ARTIFACTS_DIR", "LOG_FORMAT", "SECRET_KEY", "HF_TOKEN_PATH"} | {
        "RECIPES_DIR"
    }
    passed = re.findall(r"^      ([A-Z_]+): \$\{\1:-", (ROOT / "docker-compose.api.yml").read_text(), re.M)
    assert read - own == set(passed) - {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
