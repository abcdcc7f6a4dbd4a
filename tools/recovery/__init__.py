"""The benchmark of recovery: the project's methods beside what else repairs a deviating chip."""
