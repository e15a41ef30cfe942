"""From a matrix of features to probabilities: estimators, calibration, compiled tree ensembles, uncertainty."""
