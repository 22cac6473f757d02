"""Classifiers of whole images: training in folds, what resists wrong labels, prediction."""
