"""Each kind of task over HTTP: the options of a request, the fields of an answer, and the answer itself.

The addresses take these as they are (tasks.py) or under older names (summarize.py, topic.py).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from topic_sum import metrics
from topic_sum.api.fields import MOST_VARIANTS, USUAL_VARIANTS, Flag, Variants, WholeNumber
from topic_sum.api.requests import Item
from topic_sum.inference.kinds.classify import Classified, Classify
from topic_sum.inference.kinds.generate import Generate, Generated
from topic_sum.inference.kinds.regress import Regress, Value

LEAST_MAX_CHARS, MOST_MAX_CHARS = 30, 5000
MOST_TOP_K = 100


class GenerateOptions(serializers.Serializer):
    max_chars = WholeNumber(
        min_value=LEAST_MAX_CHARS, max_value=MOST_MAX_CHARS,
        help_text="The longest text wanted. It is cut at a sentence, a clause or a word; inside a word only "
        "if not even the first one fits.",
    )  # fmt: skip
    variants = Variants(
        help_text=f"How many different texts to choose from (at most {MOST_VARIANTS}); true means "
        f"{USUAL_VARIANTS}."
    )


class ClassifyOptions(serializers.Serializer):
    top_k = WholeNumber(
        min_value=1, max_value=MOST_TOP_K,
        help_text="How many scores to answer, best first; all if it is not given.",
    )  # fmt: skip
    explain = Flag(help_text="Also the words that spoke most for the answer.")


class RegressOptions(serializers.Serializer):
    pass


OPTIONS: dict[str, type[serializers.Serializer]] = {
    Generate.kind: GenerateOptions, Classify.kind: ClassifyOptions, Regress.kind: RegressOptions
}  # fmt: skip


class UnsupportedPart(serializers.Serializer):
    text = serializers.CharField()
    kind = serializers.ChoiceField(choices=["name", "number"])
    start = serializers.IntegerField(help_text="Where it begins in the answer, in characters.")
    end = serializers.IntegerField()


class SourceRead(serializers.Serializer):
    chars = serializers.IntegerField(help_text="Characters of the text after normalisation.")
    tokens = serializers.IntegerField(help_text="Tokens the model read.")
    windows = serializers.IntegerField(
        help_text="Parts a long text was read in; their summaries were summarized again."
    )
    cut = serializers.BooleanField(help_text="Whether the end of the text was not read.")


class BeginningRead(serializers.Serializer):
    chars = serializers.IntegerField(help_text="Characters of the text after normalisation.")
    read = serializers.IntegerField(help_text="How many of them, from the beginning, decided the answer.")
    words = serializers.IntegerField(
        help_text="Words (of two characters and more) in what was read. The answer is decided by words and "
        "letter sequences: there are no tokens."
    )
    cut = serializers.BooleanField(help_text="Whether the rest did not count.")


class ExplainedWord(serializers.Serializer):
    word = serializers.CharField()
    weight = serializers.FloatField(help_text="How far the log-odds of the answer fall without this word.")


def generated_fields(key: str) -> type[serializers.Serializer]:
    """The fields of a generated text that is called `key`."""
    one = {
        key: serializers.CharField(),
        "unsupported": UnsupportedPart(
            many=True, help_text="Names and numbers of it that the request does not contain."
        ),
    }
    variant = type(f"{key.capitalize()}Variant", (serializers.Serializer,), dict(one))
    variants = variant(many=True, required=False, help_text="If asked for: all of them, the first one first.")
    return type(key, (serializers.Serializer,), one | {"variants": variants, "source": SourceRead()})


def classified_fields(label: str, source: str) -> type[serializers.Serializer]:
    """The fields of a classification whose label is called `label`, and what was read `source`."""
    score = {
        label: serializers.CharField(),
        "name": serializers.CharField(help_text="Its Russian name."),
        "score": serializers.FloatField(help_text="A calibrated probability."),
    }
    scores = type(f"{label.capitalize()}Score", (serializers.Serializer,), score)
    made = {
        label: serializers.CharField(
            allow_null=True, help_text=f"Null if the text is too short or no {label} is clear."
        ),
        "name": serializers.CharField(allow_null=True),
        "reason": serializers.ChoiceField(
            choices=["too_short", "unsure"], allow_null=True, help_text=f"Why the {label} is null."
        ),
        "scores": scores(many=True, help_text="All of them, or the best top_k, best first."),
        source: BeginningRead(),
        "explain": ExplainedWord(many=True, required=False),
    }
    return type(label, (serializers.Serializer,), made)


class RegressedFields(serializers.Serializer):
    value = serializers.FloatField(allow_null=True, help_text="Null if the text is too short.")
    reason = serializers.CharField(allow_null=True, help_text='Why it is null: "too_short".')


def generated(
    task: Generate, found: Generated, item: Item, options: dict[str, Any], key: str = "text"
) -> dict:
    drafts = [
        {key: draft.text, "unsupported": [asdict(part) for part in draft.unsupported]}
        for draft in found.drafts
    ] or [{key: "", "unsupported": []}]
    metrics.WINDOWED.inc(found.source.windows > 1)
    metrics.CUT.inc(found.source.cut)
    metrics.UNSUPPORTED.inc(len(drafts[0]["unsupported"]))
    variants = {"variants": drafts} if options.get("variants") is not None else {}
    return dict(drafts[0]) | variants | {"source": {"chars": len(item.text)} | asdict(found.source)}


def classified(
    task: Classify, found: Classified, item: Item, options: dict[str, Any], label: str = "label"
) -> dict:
    if found.reason:
        metrics.UNSURE.labels(found.reason).inc()
    body = {
        label: found.label,
        "name": found.name,
        "reason": found.reason,
        "scores": [{label: each.label, "name": each.name, "score": each.score} for each in found.scores],
        "source": asdict(task.read(found, item.values)),
    }
    if found.explain is not None:
        body["explain"] = [asdict(word) for word in found.explain]
    return body


def regressed(task: Regress, found: Value, item: Item, options: dict[str, Any]) -> dict:
    return {"value": found.value, "reason": found.reason}


BODIES = {Generate.kind: generated, Classify.kind: classified, Regress.kind: regressed}
