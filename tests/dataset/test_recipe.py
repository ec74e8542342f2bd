"""Recipes: what is read, and the one line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from gazeta.dataset.rules import KIND_SAYS, NOT_ARTICLES
from gazeta.dataset.schema import Column
from gazeta.recipe import GAZETA, KINDS, SECTIONS, BadRecipe, FileSource, load

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def read(tmp_path: Path):
    def of(text: str | bytes):
        path = tmp_path / "mine.yaml"
        if isinstance(text, str):
            known = text.partition(":")[0] in ("rules", "columns", "duplicates", "splits")
            text = (
                text
                + "\nsources: [{site: gazeta}]"
                * (known and "sources:" not in text and not text.endswith("[1, 2"))
            ).encode()
        path.write_bytes(text)
        return load(str(path), RECIPES)

    return of


def test_the_recipe_of_gazeta_spells_the_defaults_out() -> None:
    assert load("gazeta", RECIPES) == GAZETA


def test_without_the_folder_of_recipes_there_is_the_default_one(tmp_path: Path) -> None:
    assert load("gazeta", tmp_path) == GAZETA


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_is_read(path: Path) -> None:
    assert load(path.stem, RECIPES).name == path.stem


def test_the_code_knows_every_kind_that_a_recipe_may_drop() -> None:
    assert set(KINDS) == set(NOT_ARTICLES) == set(KIND_SAYS)


def test_defaults_about_columns_that_a_recipe_lacks_are_left_out(read) -> None:
    recipe = read(
        "columns: {review: {type: text, required: true}, rating: {type: number}}\n"
        "sources:\n- file: data/reviews.csv\n  columns: {rating: [stars, score]}\n  defaults: {rating: 5}\n"
    )
    assert recipe.name == "mine" and not recipe.sites
    assert recipe.columns == (Column("review", "text", True), Column("rating", "number", False))
    assert recipe.rules.min_characters == recipe.rules.min_letters == {}
    assert recipe.rules.compared_lengths == recipe.duplicates.columns == ("review",)
    assert recipe.splits.by == "hash", "there is no date to split by"
    (source,) = recipe.files
    assert source.columns == {"rating": ("stars", "score")} and source.defaults == {"rating": "5"}
    assert Path(source.file).parts[-2:] == ("data", "reviews.csv") and Path(source.file).is_absolute()


def test_null_switches_a_rule_off_and_an_empty_list_all_kinds(read) -> None:
    rules = read("rules: {language: null, max_copied_share: null, drop: [], min_letters: {}}").rules
    assert rules.language is None and rules.max_copied_share is None
    assert rules.drop == () and rules.min_letters == {}


def test_a_source_file_takes_the_place_of_the_sources(read, tmp_path: Path) -> None:
    recipe = load("gazeta", RECIPES, "/data/mine.jsonl")
    assert not recipe.sites
    assert recipe.files == (
        FileSource(
            "/data/mine.jsonl",
            {"text": ("body", "text"), "rubric": ("rubric", "topic")},
            defaults={"rubric": "articles"},
        ),
    )
    read("columns: {text: {type: text}}\nsources: [{file: a.csv, columns: {text: review}, format: csv}]")
    (source,) = load(str(tmp_path / "mine.yaml"), RECIPES, "https://example.org/b.parquet").files
    assert source == FileSource("https://example.org/b.parquet", {"text": ("review",)})


MISTAKES = {
    "naem: x": "naem is no setting; did you mean name? There are " + ", ".join(SECTIONS),
    "rules: {min_leters: {title: 3}}": "rules.min_leters is no setting; did you mean min_letters?",
    "rules: {min_letters: {titel: 3}}": "rules.min_letters names no column titel; did you mean title?",
    "rules: {max_copied_share: 3}": "rules.max_copied_share is 3; give a number from 0 to 1, or null",
    "rules: {max_digit_share: .nan}": "rules.max_digit_share is NaN; give a number from 0 to 1",
    "rules: {boilerplate: 1}": "rules.boilerplate is 1; give true or false",
    "rules: {drop: [galery]}": 'rules.drop is ["galery"]; did you mean gallery?',
    "rules: {drop: gallery}": 'rules.drop is "gallery"; give a list of kinds',
    "rules: {first_date: May}": 'rules.first_date is "May"; give a day such as 1999-01-01',
    "rules: {between: {title: [1, 2]}}": "rules.between.title needs a column of type number",
    "rules: {compared_lengths: [rubric]}": "rules.compared_lengths: rubric is no column of text",
    "rules: 7": "rules is 7; give KEY: VALUE lines",
    "columns: {}": "columns is {}; give NAME: {type: TYPE, required: true} lines",
    "columns: {text: {type: txt}}": 'columns.text.type is "txt"; did you mean text?',
    "columns: {text: {type: text, requird: true}}": "columns.text.requird is no setting; did you mean requ",
    "columns: {Text: {type: text}}": "columns.Text is no name; use small Latin letters",
    "columns: {fetched_at: {type: date}, text: {}}": "columns.fetched_at is a name that the lineage uses",
    "columns: {rating: {type: number}}": "columns has none of type text or line",
    "duplicates: {by: storey}": 'duplicates.by is "storey"; did you mean story?',
    "duplicates: {columns: [body]}": "duplicates.columns names no column body",
    "splits: {test: 0.4, validation: 0.4}": "splits.test and splits.validation are more than half",
    "splits: {test: 0}": "splits.test is 0; give a number from 0.001 to 0.4",
    "columns: {text: {type: text}}\nsplits: {by: date}": "splits.by is date, but no column of type date",
    "name: mine": "sources is null; give a list of `site: NAME` and `file: PATH`",
    "sources: []": "sources is []; give a list of",
    "rules: []": "rules is []; give KEY: VALUE lines",
    "sources: [{sight: gazeta}]": 'sources, number 1, is {"sight": "gazeta"}; give `site: NAME`',
    "sources: [{file: a.csv, fromat: csv}]": "sources, number 1.fromat is no setting; did you mean format?",
    "sources: [{file: a.csv, format: xls}]": 'sources, number 1.format is "xls"; there are jsonl',
    "sources: [{file: a.csv, columns: {titel: a}}]": "sources, number 1: columns names no column titel",
    "rules: [1, 2": "is not valid YAML: line 1: expected ',' or ']'",
    "- 1": "is no recipe: it has no KEY: VALUE lines",
    "": "is no recipe",
    "\x00": "is not valid YAML",
    "x: " + "[" * 3000: "is not valid YAML",
    "x: !!python/object/apply:os.system [ls]": "is not valid YAML: line 1: could not determine a constructor",
    "rules: &a {drop: *a}": "rules.drop is {'drop': {...}}; give a list",
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.items(), ids=lambda value: value[:40])
def test_a_mistake_is_one_line_that_names_it(read, text: str, line: str) -> None:
    with pytest.raises(BadRecipe) as told:
        read(text)
    assert line in str(told.value) and "\n" not in str(told.value)
    assert told.value.exit_code == 2


def test_bytes_that_are_no_text_and_files_without_end_are_one_line(read) -> None:
    for content in (b"name: \xff\xfe", b"#" * 1_100_000):
        with pytest.raises(BadRecipe) as told:
            read(content)
        assert "\n" not in str(told.value)


def test_a_recipe_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(BadRecipe, match=r"RECIPE=gazetta: there is no .*did you mean gazeta\?"):
        load("gazetta", RECIPES)
