"""What the figures of a run are called and what they mean, in words for readers who train no networks."""

METRICS = {
    "macro_ap": ("average precision, mean over the classes", "1 = for every class, all its images are ranked first"),
    "macro_ap_constant": ("the same, constant predictor", "what ranking by chance gives"),
    "micro_ap": ("average precision, all decisions pooled", "frequent classes weigh more"),
    "micro_ap_constant": ("the same, constant predictor", "knows the classes' frequencies, never looks at the image"),
    "macro_auc": ("ROC AUC, mean over the classes", "chance that an image with the class is ranked above one without"),
    "macro_f1": ("F1, mean over the classes", "balance of precision and recall; every class weighs the same"),
    "macro_f1_constant": ("the same, constant predictor", "the best that one answer for all images gets"),
    "macro_precision": ("precision, mean over the classes", "share of the predictions that are right"),
    "macro_recall": ("recall, mean over the classes", "share of the labels that are found"),
    "micro_f1": ("F1, all decisions pooled", "frequent classes weigh more"),
    "micro_f1_constant": ("the same, constant predictor", ""),
    "micro_precision": ("precision, all decisions pooled", ""),
    "micro_recall": ("recall, all decisions pooled", ""),
    "macro_f1_at_half": ("F1, mean over the classes, threshold 0.5", "no tuning at all"),
    "micro_f1_at_half": ("F1, pooled, threshold 0.5", "no tuning at all"),
    "macro_f1_cross_fitted": (
        "F1, mean over the classes, cross-fitted thresholds",
        "each fold decided by thresholds tuned on the other folds",
    ),
    "micro_f1_cross_fitted": ("F1, pooled, cross-fitted thresholds", "each fold by thresholds of the other folds"),
    "macro_f1_tuned": (
        "F1, mean over the classes, tuned thresholds",
        "optimistic: thresholds were tuned on these same images",
    ),
    "micro_f1_tuned": ("F1, pooled, tuned thresholds", "optimistic: tuned on these same images"),
    "accuracy": ("accuracy", "share of the images with the right class"),
    "accuracy_constant": ("the same, constant predictor", "always says the class most frequent in training"),
    "exact_match": ("exact match", "share of the images with every class decided right"),
    "ece": ("calibration error, mean over the classes", "mean distance of a probability from the share that is true"),
    "ece_top": ("calibration error of the predicted class", "the usual one of single-label tasks"),
    "brier": ("Brier score, mean over the classes", "squared distance of probability and truth; 0 is best"),
    "brier_constant": ("the same, constant predictor", ""),
}
"""Figure to its name and a remark, in the order they are shown."""

COLUMNS = {
    "class": "class",
    "positives": "images",
    "ap": "average precision",
    "ap_constant": "constant predictor",
    "auc": "ROC AUC",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "threshold": "threshold",
    "ece": "calibration error",
}
"""Column of the per-class table to its head."""

RULES = {
    "given thresholds": "A class is predicted where its probability reaches the threshold given for it.",
    "cross-fitted thresholds": (
        "A class is predicted where its probability reaches a threshold tuned on the other folds, so that no image "
        "takes part in choosing its own threshold. The thresholds in the table are the ones to use on new images."
    ),
    "threshold 0.5": "A class is predicted where its probability is at least 0.5.",
    "highest probability": "The class with the highest probability is predicted.",
}
"""Rule of decision to a sentence about it."""

HISTORY = {
    "train_loss": "training loss",
    "learning_rate": "learning rate",
    "val_loss": "validation loss",
    "validation_loss": "validation loss",
    "macro_ap": "average precision, mean",
    "micro_ap": "average precision, pooled",
    "macro_f1": "F1, mean over classes",
    "micro_f1": "F1, pooled",
    "macro_auc": "ROC AUC, mean",
}
"""Column of the history to its panel's title; others are shown by their own name."""


def history_title(column: str) -> str:
    """The title of a history column's panel.

    >>> history_title("train_loss"), history_title("top_5_accuracy")
    ('training loss', 'top 5 accuracy')
    """
    return HISTORY.get(column, column.replace("_", " "))
