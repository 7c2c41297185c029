"""`python -m meshscope.stream`: one worker, configured by the environment (see `settings`)."""

import logging
import os
import sys
from functools import partial

import faust

from meshscope.events.topics import RESOURCES
from meshscope.stream.app import APP_ID, StreamWorker
from meshscope.stream.failure import EXIT_RESTART, EXIT_SETTINGS, stop_at_once
from meshscope.stream.judgement import Judge, Project
from meshscope.stream.settings import InvalidSettings, WorkerSettings, from_environment
from meshscope.transport.log_epoch import LogEpochReader

log = logging.getLogger("meshscope.stream")


def run(settings: WorkerSettings, project: Project, judge: Judge) -> None:
    """Run a worker until a signal ends it; waits for the broker and its topics."""
    epochs = LogEpochReader(settings.broker, APP_ID)
    epoch = epochs.wait(RESOURCES.name)
    if epoch is None:
        return
    worker = StreamWorker(settings, project, judge, epoch, partial(epochs.current, RESOURCES.name))
    shell = faust.Worker(
        worker.app, loglevel="INFO", override_logging=False, redirect_stdouts=False, quiet=True
    )
    try:
        shell.execute_from_commandline()
    except Exception as error:
        stop_at_once(EXIT_RESTART, "Faust crashed", error)


def main() -> int:
    """Entry point; returns the exit code."""
    logging.basicConfig(
        level=os.environ.get("MESHSCOPE_LOG_LEVEL", "INFO"),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Assignments and commits of every second are of no use to an operator.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    logging.getLogger("faust").setLevel(logging.WARNING)
    logging.getLogger("mode").setLevel(logging.WARNING)
    try:
        settings = from_environment(os.environ)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except (InvalidSettings, OSError) as error:
        print(f"meshscope.stream: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    # Projection and comparison are heavy to import, and a wrong setting should be told at once.
    from meshscope.projection.project import project
    from meshscope.stream.wiring import judge

    run(settings, project, judge)
    return 0


if __name__ == "__main__":
    sys.exit(main())
