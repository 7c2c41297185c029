"""The Faust app that joins both planes continuously; the only place that imports faust."""
