"""The programs that people use, unmodified: the `hf` command, datasets, transformers and its Trainer."""

from __future__ import annotations

import os


def test_hf_creates_uploads_tags_downloads_and_deletes(hf, hub, api, tmp_path):
    assert "demo" in hf("auth", "whoami").stdout
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "deep").mkdir(parents=True)
    large = os.urandom(12_000_000)
    (source / "weights.bin").write_bytes(large)
    (source / "deep" / "config.json").write_text("{}")
    (source / "README.md").write_text("---\nlicense: mit\n---\n# Модель\n")

    hf("repos", "create", "demo/model")
    hf("upload", "demo/model", str(source), ".", "--commit-message", "First")
    first = api.repo_info("demo/model").sha
    hf("upload", "demo/model", str(source), ".")
    assert api.repo_info("demo/model").sha == first, "unchanged files made a commit"
    hf("repos", "tag", "create", "demo/model", "v1")
    (source / "deep" / "config.json").write_text('{"changed": true}')
    hf("upload", "demo/model", str(source / "deep" / "config.json"), "deep/config.json")

    hf("download", "demo/model", "--revision", "v1", "--local-dir", str(copy))
    assert (copy / "weights.bin").read_bytes() == large
    assert (copy / "deep" / "config.json").read_text() == "{}"
    assert "v1" in hf("repos", "tag", "list", "demo/model").stdout
    assert "demo/model" in hf("models", "ls", "--author", "demo", "--no-truncate").stdout
    assert "demo/model" in hf("repos", "list", "--no-truncate").stdout
    hf("repos", "branch", "create", "demo/model", "try")
    hf("repos", "delete-files", "demo/model", "deep/*", "--revision", "try")
    assert api.list_repo_files("demo/model", revision="try") == [".gitattributes", "README.md", "weights.bin"]
    assert "deep/config.json" in api.list_repo_files("demo/model")
    hf("repos", "delete", "demo/model", "--yes")
    assert list(api.list_models()) == []


def test_hf_says_in_words_what_it_may_not_do(hf, hub, api):
    wrong = hf("auth", "whoami", code=1, HF_TOKEN="nobody-was-given-this")
    assert "Invalid user token" in wrong.stdout + wrong.stderr
    read_only = hf("repos", "create", "demo/model", code=1, HF_TOKEN=hub.read_token)
    assert "may only read" in read_only.stdout + read_only.stderr
    absent = hf("download", "demo/absent", code=1)
    assert "Model 'demo/absent' not found" in absent.stdout + absent.stderr
    assert list(api.list_models()) == []


DATASETS = """
import json
from datasets import Dataset, DatasetDict, load_dataset
from huggingface_hub import HfApi

def rows(first, count):
    numbers = range(first, first + count)
    return {"text": [f"Новость {number}" for number in numbers], "number": list(numbers)}

def numbers(split):
    return [row["number"] for row in split]

api, repo = HfApi(), "demo/rows"
old = DatasetDict(train=Dataset.from_dict(rows(0, 40)), validation=Dataset.from_dict(rows(40, 5)),
                  test=Dataset.from_dict(rows(45, 5)))
old.push_to_hub(repo, commit_message="Old")
api.create_tag(repo, tag="v1", repo_type="dataset")
old_sha = api.dataset_info(repo).sha
old.push_to_hub(repo)
unchanged_sha = api.dataset_info(repo).sha
new = DatasetDict(train=Dataset.from_dict(rows(0, 60)), test=old["test"])
new.push_to_hub(repo, num_shards={"train": 3, "test": 1})

loaded = load_dataset(repo)
tagged, by_sha = load_dataset(repo, revision="v1"), load_dataset(repo, revision=old_sha)
streamed = load_dataset(repo, split="train", streaming=True)
print(json.dumps({
    "files": api.list_repo_files(repo, repo_type="dataset"),
    "commits": [commit.title for commit in api.list_repo_commits(repo, repo_type="dataset")],
    "unchanged": old_sha == unchanged_sha,
    "splits": {name: numbers(split) for name, split in loaded.items()},
    "tagged": {name: numbers(split) for name, split in tagged.items()},
    "by_sha": {name: numbers(split) for name, split in by_sha.items()},
    "streamed": numbers(streamed),
    "text": loaded["train"][59]["text"],
}))
"""


def test_datasets_pushes_and_loads_by_name_tag_and_commit_and_streams(run_script):
    seen = run_script(DATASETS)
    old = {"train": list(range(40)), "validation": list(range(40, 45)), "test": list(range(45, 50))}
    assert seen["tagged"] == seen["by_sha"] == old
    assert seen["splits"]["train"] == seen["streamed"] == list(range(60))
    assert seen["text"] == "Новость 59"
    assert seen["unchanged"], "pushing the same rows made a commit"
    assert seen["commits"] == ["Upload dataset", "Old", "initial commit"]
    assert [path for path in seen["files"] if path.startswith("data/train")] == [
        f"data/train-0000{shard}-of-00003.parquet" for shard in range(3)
    ]


PARQUET = """
import json
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset
from huggingface_hub import CommitOperationAdd, HfApi

CARD = '''---
configs:
- config_name: default
  data_files:
  - {split: train, path: "data/train-*.parquet"}
  - {split: test, path: "data/test-*.parquet"}
---
# Rows
'''
api, repo = HfApi(), "demo/parquet"
api.create_repo(repo, repo_type="dataset")

def shard(path, numbers):
    pq.write_table(pa.table({"number": numbers}), "shard.parquet")
    return CommitOperationAdd(path, open("shard.parquet", "rb").read())

def publish(*operations):
    head = {"repo_type": "dataset", "parent_commit": api.dataset_info(repo).sha}
    return api.create_commit(repo, operations, commit_message="Add", **head).oid

first = publish(CommitOperationAdd("README.md", CARD.encode()), shard("data/train-2024.parquet", [1, 2]),
                shard("data/test-2024.parquet", [9]))
second = publish(shard("data/train-2025.parquet", [3]))
seen = {revision: {name: split["number"][:] for name, split in load_dataset(repo, revision=revision).items()}
        for revision in (first, second)}
print(json.dumps([seen[first], seen[second]]))
"""


def test_datasets_loads_parquet_that_was_committed_file_by_file(run_script):
    """The way the collector publishes: shards and a card in one commit, new shards in later ones."""
    first, second = run_script(PARQUET)
    assert first == {"train": [1, 2], "test": [9]}
    assert second == {"train": [1, 2, 3], "test": [9]}


TRANSFORMERS = """
import json
import torch
from huggingface_hub import HfApi
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, DataCollatorForSeq2Seq
from transformers import PreTrainedTokenizerFast, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers import T5Config, T5ForConditionalGeneration

torch.set_num_threads(1)
torch.manual_seed(0)
api, repo = HfApi(), "demo/small"
words = ["<pad>", "</s>", "<unk>", "мост", "открыт", "через", "реку"]
plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="</s>",
                                    unk_token="<unk>")
config = T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
                  decoder_start_token_id=0)
model = T5ForConditionalGeneration(config)
before = model.shared.weight.clone()
model.push_to_hub(repo, commit_message="Model")
tokenizer.push_to_hub(repo, commit_message="Tokenizer")
api.create_tag(repo, tag="v1")

def same(revision, weights):
    loaded = AutoModelForSeq2SeqLM.from_pretrained(repo, revision=revision)
    return bool(torch.equal(loaded.shared.weight, weights))

sha = api.model_info(repo).sha
rows = [{"input_ids": [3, 4, 5, 6, 1], "labels": [3, 4, 1]} for _ in range(4)]
arguments = Seq2SeqTrainingArguments("run", push_to_hub=True, hub_model_id=repo, max_steps=2, save_steps=1,
                                     per_device_train_batch_size=2, report_to="none", use_cpu=True,
                                     learning_rate=0.1, disable_tqdm=True)
trainer = Seq2SeqTrainer(model, arguments, train_dataset=rows, processing_class=tokenizer,
                         data_collator=DataCollatorForSeq2Seq(tokenizer, model))
trainer.train()
trainer.push_to_hub(commit_message="Trained", blocking=True)
after = model.shared.weight.detach()
print(json.dumps({
    "by_tag": same("v1", before), "by_sha": same(sha, before), "by_name": same("main", after),
    "moved": not torch.equal(before, after),
    "ids": AutoTokenizer.from_pretrained(repo, revision="v1")("мост через реку")["input_ids"],
    "files": api.list_repo_files(repo), "titles": [commit.title for commit in api.list_repo_commits(repo)],
}))
"""


def test_transformers_pushes_and_loads_a_t5_and_the_trainer_pushes_its_own(run_script):
    seen = run_script(TRANSFORMERS)
    assert seen["moved"], "two steps of training changed nothing, so the comparisons below would say nothing"
    assert (seen["by_tag"], seen["by_sha"], seen["by_name"]) == (True, True, True)
    assert seen["ids"] == [3, 5, 6]
    assert {"model.safetensors", "config.json", "tokenizer.json", "training_args.bin"} <= set(seen["files"])
    assert seen["titles"][0] == "Trained"
    assert {"Model", "Tokenizer", "initial commit"} <= set(seen["titles"])
