"""Tasks of a trained model: functions of a model and a request (given, impute, classify, caption, evaluate, ...)."""
