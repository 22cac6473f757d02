"""The score through the command line, against the answers of the Open Images evaluator where they are at hand."""

import json

import pytest

from hpa import cli


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.mark.parametrize("verified", ["all", "gt"])
def test_golden_answers(sample_data, verified, tmp_path, capsys):
    cases = sorted((sample_data.parent / "metric").glob("*.json"))
    assert cases
    for case in cases:
        answers = json.loads(case.read_text())["answers"]
        expected = answers.get(f"{verified}_stable", answers[verified])
        files = [f"{case.with_suffix('')}.{kind}.csv" for kind in ("truth", "pred")]
        arguments = ("--truth", files[0], "--prediction", files[1], "--verified", verified)
        assert run("score-submission", *arguments, "--json", f"{tmp_path}/score.json", "--rounds", "0") == 0
        found = json.loads((tmp_path / "score.json").read_text())
        assert found["mAP"] == pytest.approx(expected["mAP"], abs=1e-9), case.name
        assert found["AP"] == {
            number: None if value is None else pytest.approx(value, abs=1e-9)
            for number, value in expected["AP"].items()
        }, case.name
        assert f"mAP {expected['mAP']:.4f}" in capsys.readouterr().out


HEADER = "ID,ImageWidth,ImageHeight,PredictionString\n"
MASK = "eNozNAYAAJcAZQ=="  # three of the four pixels of a 2 x 2 image


def test_what_is_printed(tmp_path, capsys):
    (tmp_path / "truth.csv").write_text(f"{HEADER}a,2,2,3 1 {MASK}\n")
    (tmp_path / "prediction.csv").write_text(f"{HEADER}a,2,2,3 0.5 {MASK} 4 0.25 {MASK}\n")
    files = ("--truth", f"{tmp_path}/truth.csv", "--prediction", f"{tmp_path}/prediction.csv")
    assert run("score_submission", *files) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("mAP 1.0000 (95 % of resampled images: 1.0000 to 1.0000)")
    for words in ("Nucleoli fibrillar center", "By image size", "border", "inside", "verified: all"):
        assert words in printed, words
    assert "left out" not in printed


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("a,2,2,3 0.5 nonsense", "check-submission"),
        ("a,2,2,3 0.5", "row 2, image a: expected `class confidence mask` repeated"),
        ("a,2,2,99 0.5 " + MASK, "class"),
        ("a,3,2,3 0.5 " + MASK, "row 2 (image 'a'): the mask cannot be read: expected run lengths that sum to 3 × 2"),
        ("a,1,4,3 0.5 " + MASK, "size"),
    ],
)
def test_malformed_predictions_are_messages(row, expected, tmp_path, capsys):
    (tmp_path / "truth.csv").write_text(f"{HEADER}a,2,2,3 1 {MASK}\n")
    (tmp_path / "prediction.csv").write_text(f"{HEADER}{row}\n")
    files = ("--truth", f"{tmp_path}/truth.csv", "--prediction", f"{tmp_path}/prediction.csv")
    assert run("score_submission", *files) == 1
    assert expected in capsys.readouterr().err


def test_missing_files_are_messages(tmp_path, capsys):
    assert run("score_submission", "--truth", f"{tmp_path}/a.csv", "--prediction", f"{tmp_path}/b.csv") == 1
    assert "No such file" in capsys.readouterr().err


def test_check_lists_problems_and_fails(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text(f"{HEADER}a,2,2,3 -1 {MASK}\nb,2,2,77 0.5 x\nc,2,2,\n")
    assert run("check-submission", f"{tmp_path}/bad.csv") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("row 2 a: error, confidence")
    assert [line.split(":")[0] for line in lines[:-1]] == ["row 2 a", "row 3 b", "row 3 b", "row 4 c"]
    assert lines[-1].endswith("3 problems, 1 remark")


def test_check_of_a_right_file_succeeds(tmp_path, capsys):
    (tmp_path / "good.csv").write_text(f"{HEADER}a,2,2,3 1 {MASK}\n")
    assert run("check_submission", f"{tmp_path}/good.csv", "--sample", f"{tmp_path}/good.csv") == 0
    assert capsys.readouterr().out == f"{tmp_path}/good.csv: no problems\n"
