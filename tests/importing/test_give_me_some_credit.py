"""The mapping of Give Me Some Credit brings its bureau history, by rows in the file's form."""

import csv

from pipelines.core.settings import Settings
from pipelines.importing import import_file

HEADER = (
    ",SeriousDlqin2yrs,RevolvingUtilizationOfUnsecuredLines,age,"
    "NumberOfTime30-59DaysPastDueNotWorse,DebtRatio,MonthlyIncome,NumberOfOpenCreditLinesAndLoans,"
    "NumberOfTimes90DaysLate,NumberRealEstateLoansOrLines,NumberOfTime60-89DaysPastDueNotWorse,"
    "NumberOfDependents\n"
)
ROWS = "1,1,0.77,45,2,0.8,9000,13,0,6,0,2\n2,0,0.96,40,98,120,NA,4,98,0,98,NA\n"


def test_its_columns_arrive(tmp_path):
    file = tmp_path / "cs-training.csv"
    file.write_text(HEADER + ROWS)
    settings = Settings(home=tmp_path / "home")
    counts = import_file(settings, "give_me_some_credit", file)["feeds"]
    assert {feed: of["written"] for feed, of in counts.items()} == {
        "leads": 2, "outcomes": 6, "institutions": 1, "products": 1,
    }  # fmt: skip
    leads = [
        row
        for path in settings.landing.glob("leads/gmsc/*/*.csv")
        for row in csv.DictReader(path.read_text("utf-8").splitlines())
    ]
    first = next(row for row in leads if row["lead_id"] == "1")
    assert first["card_utilisation"] == "0.77"
    assert (first["past_due_30"], first["open_credit_lines"]) == ("2", "13")
    assert (first["real_estate_loans"], first["dependants"]) == ("6", "2")
    assert float(first["debt_monthly"]) == 7200
    assert first["birth_date"] == "1964-01-01"
    assert "amount" not in first
