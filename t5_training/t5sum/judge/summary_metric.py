"""The scores of metrics.py as a metric of the package `evaluate`, usable without a network.

    from t5sum.judge.summary_metric import SummaryMetric
    SummaryMetric().compute(predictions=[...], references=[...])

or, for programs that load their metrics by path: evaluate.load("t5_training/t5sum/judge/summary_metric.py").
evaluate's own rouge, sacrebleu and meteor are scripts fetched from the Hub, with English tokenizers.
"""

from __future__ import annotations

import datasets
import evaluate

from t5sum.judge.metrics import score

DESCRIPTION = "ROUGE-1/2/L, BLEU, chrF and METEOR (exact + stem) of Russian summaries, over razdel tokens."
INPUTS = """
Args:
    predictions: summaries, a list of texts.
    references: reference summaries, a list of texts, one for each prediction.
Returns:
    rouge1, rouge2, rougeL, bleu, chrf, meteor: from 0 to 100.
"""


class SummaryMetric(evaluate.Metric):
    """compute(predictions=…, references=…) gives what `t5sum.judge.metrics.score` gives."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        return score(predictions, references)
