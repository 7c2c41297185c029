"""The whole stack on one machine: broker, store, mesh and processes, supervised."""
