import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.errors import UserError
from empathy_lib.human_eval.cube import to_cube
from empathy_lib.human_eval.ratings import COLUMNS, is_simulated, read_ratings, write_ratings
from empathy_lib.human_eval.summary import summarise

HEADER = "rater,item,dimension,system,rank\n"
GOOD = HEADER + "r1,q1,Fluency,sft,1\nr1,q1,Fluency,base,2\n"


def write(tmp_path, content):
    path = tmp_path / "ratings.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_reads_ties_missing_ranks_blank_lines_and_a_byte_order_mark(tmp_path):
    path = write(
        tmp_path,
        (
            "\ufeff" + GOOD + "\nr2,q1,Fluency,sft,1.5\nr2,q1,Fluency,base,1.5\nr3,q1,Comforting,base,\n"
        ).encode(),
    )
    table = read_ratings(path)
    assert table.columns.tolist() == list(COLUMNS)
    assert table["rank"].tolist() == [1, 2, 1.5, 1.5]
    assert "r3" not in set(table["rater"])


def test_columns_may_stand_in_any_order_with_others_between(tmp_path):
    table = read_ratings(
        write(
            tmp_path,
            "rank,note,system,item,rater,dimension\n1,good,sft,q1,r1,Fluency\n2,,base,q1,r1,Fluency\n",
        )
    )
    assert table.iloc[0].tolist() == ["r1", "q1", "Fluency", "sft", 1.0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (HEADER, "holds no rank"),
        (HEADER + "r1,q1,Fluency,sft,\n", "holds no rank"),
        ("rater,item,dimension,system\n", "line 1: column 'rank' is missing"),
        ("rater,item,item,dimension,system,rank\n", "line 1: column 'item' is given twice"),
        (GOOD + "r1,q2,Fluency,sft,first\n", "line 4, rater 'r1': field 'rank': 'first'"),
        (GOOD + "r1,q2,Fluency,sft,0\n", "line 4, rater 'r1': field 'rank': '0'"),
        (GOOD + "r1,q2,Fluency,sft,-1\n", "line 4, rater 'r1': field 'rank': '-1'"),
        (GOOD + "r1,q2,Fluency,sft,nan\n", "line 4, rater 'r1': field 'rank': 'nan'"),
        (GOOD + "r1,q2,Fluency,sft,inf\n", "line 4, rater 'r1': field 'rank': 'inf'"),
        (
            GOOD + "r1,q2,Fluency,sft,3\n",
            "line 4, rater 'r1': field 'rank': 3 is above the number of systems (2)",
        ),
        (
            GOOD + "r1,q2,Fluencey,sft,1\n",
            "line 4: field 'dimension': 'Fluencey' is none of the others; did you mean Fluency?",
        ),
        (
            GOOD + "r1,q1,Fluency,sft,2\n",
            "line 4, rater 'r1': field 'system': 'sft' is already ranked for item 'q1', Fluency in line 2",
        ),
        (GOOD + "r1,q2,,sft,1\n", "line 4, rater 'r1': field 'dimension' is empty; name"),
        (GOOD + "r1,q2,All,sft,1\n", "'All' is what results call the mean of the dimensions; rename it"),
        (
            GOOD + "r1,q2,温度 Warmth,sft,1\nr1,q2,温度 warmth,base,1\n",
            "line 5: field 'dimension': '温度 warmth' is '温度 Warmth' in line 4; write",
        ),
        (
            GOOD + "r1,q1,FLUENCY,sft,2\n",
            "'sft' is already ranked for item 'q1', Fluency in line 2",
        ),
        (GOOD + ",q1,Fluency,sft,2\n", "line 4: field 'rater' is empty"),
        (GOOD + "r1,q1\n", "line 4: the line has too few fields"),
        (GOOD + "r1,q1,Fluency,sft,1,2\n", "line 4: the line has too many fields"),
        (GOOD + 'r1,"q2,Fluency,sft,1\n', "not valid CSV"),
        (GOOD.encode() + "r1,q2,Fluency,基线,1\n".encode("gbk"), "not UTF-8"),
    ],
)
def test_names_file_line_field_and_remedy(tmp_path, content, says):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_ratings(path)
    message = str(error.value)
    assert message.startswith(str(path)) and says in message and "\n" not in message
    assert ";" in message, "a remedy follows the fault"


def test_seconds_are_kept_where_given(tmp_path):
    timed = HEADER.strip() + ",seconds\nr1,q1,Fluency,sft,1,12.5\nr1,q1,Fluency,base,2,\n"
    table = read_ratings(write(tmp_path, timed))
    assert table["seconds"].tolist()[0] == 12.5 and pd.isna(table["seconds"].tolist()[1])
    write_ratings(table, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == timed
    with pytest.raises(UserError, match="line 3, rater 'r1': field 'seconds': '-1' is no number from 0 up"):
        read_ratings(write(tmp_path, timed.replace("2,\n", "2,-1\n")))


def test_a_blind_file_names_letters(tmp_path):
    path = write(tmp_path, GOOD.replace("system", "letter").replace("sft", "A").replace("base", "B"))
    assert read_ratings(path, blind=True)["letter"].tolist() == ["A", "B"]
    with pytest.raises(UserError, match="column 'system' is missing"):
        read_ratings(path)


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match="no such ratings file; give"):
            read_ratings(path)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_give_a_table_or_a_user_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "ratings.csv"
    for body in (content, GOOD.encode() + content):
        path.write_bytes(body)
        try:
            assert len(read_ratings(path)) > 0
        except UserError as error:
            assert str(path) in str(error)


def test_round_trip_keeps_awkward_names(tmp_path):
    table = pd.DataFrame(
        [
            ('a "b", c', "q\u30001", "Fluency", "sft", 1.5),
            ("NA", "null", "Fluency", "sft", 1.0),
            ("NA", "null", "Fluency", "base", 2.0),
        ],
        columns=list(COLUMNS),
    )
    write_ratings(table, tmp_path / "r.csv")
    pd.testing.assert_frame_equal(read_ratings(tmp_path / "r.csv"), table, check_dtype=False)


def test_simulated_label_survives_the_csv(tmp_path):
    assert is_simulated(read_ratings(write(tmp_path, GOOD.replace("r1", "simulated-01"))))
    assert not is_simulated(read_ratings(write(tmp_path, GOOD)))


def test_known_dimensions_in_any_case_and_a_study_s_own(tmp_path):
    own = "r1,q1,温度 Warmth,sft,2\nr1,q1,温度 Warmth,base,1\n"
    own += "r1,q1,Suggestions,sft,1\nr1,q1,Suggestions,base,2\n"
    table = read_ratings(write(tmp_path, GOOD.replace("Fluency", "fluency") + own))
    assert table["dimension"].unique().tolist() == ["Fluency", "温度 Warmth", "Suggestions"]
    assert to_cube(table).dimensions == ["Fluency", "温度 Warmth", "Suggestions"]
    found = summarise(table)
    assert list(found) == ["all", "Fluency", "温度 Warmth", "Suggestions"]
    assert found["Fluency"]["sft"]["mean_rank"] == 1.0 and found["温度 Warmth"]["sft"]["mean_rank"] == 2.0


def test_the_mark_of_a_study_is_read_from_its_sheets_only(tmp_path):
    marked = "rater,item,dimension,letter,rank,study\nr1,q1,Fluency,A,1,study-1\nr1,q1,Fluency,B,2,\n"
    table = read_ratings(write(tmp_path, marked), blind=True)
    assert table["study"].tolist() == ["study-1", ""]
    assert "study" not in read_ratings(write(tmp_path, marked.replace("letter", "system")))
