import pytest

from include.projects.expectations import parse_condition

pytestmark = pytest.mark.slow  # imports Great Expectations


@pytest.mark.parametrize(
    ("sql", "condition"),
    [
        ("quantity = 0", "quantity == 0"),
        ("amount >= -2.5", "amount >= -2.5"),
        ("status <> 'paid'", "status != paid"),
        ("kind IN ('a', 'b')", "kind IN (a, b)"),
        ("kind NOT IN ('a')", "kind NOT_IN (a)"),
        ("age IS NOT NULL", "age IS NOT NULL"),
        ("(a = 1 AND b < 2) OR c IS NULL", "((a == 1 AND b < 2) OR c IS NULL)"),
    ],
)
def test_parses_sql_condition(sql, condition):
    assert repr(parse_condition(sql)) == condition


@pytest.mark.parametrize(
    "sql", ["a > b", "lower(a) = 'x'", "a", "NOT a = 1", "a = 1 +", "a IN (SELECT 1)", "a = current_date", "1 = a"]
)
def test_rejects_other_sql(sql):
    with pytest.raises(ValueError, match="row_condition"):
        parse_condition(sql)
