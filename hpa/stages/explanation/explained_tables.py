"""Names of what `explain` leaves in its folder."""

ITEMS, SETTINGS, METRICS = "items.json", "explanations.json", "metrics.json"
QUESTIONS, SCORES = "questions.parquet", "scores.parquet"
AGREEMENT, RANDOMIZATION = "agreement.parquet", "randomization.parquet"
COMPARISON, REPORT, PAGES = "comparison.csv", "report.html", "pages"
