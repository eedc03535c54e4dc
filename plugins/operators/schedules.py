"""When DAGs run by the clock, and by when each run is to be over.

Airflow runs a DAG that it sees for the first time at once if its last time is less than a tenth of the interval ago: a weekly
one until Sunday afternoon. `run_immediately` of no time at all makes each wait for its next time.
"""

from datetime import timedelta

from airflow.sdk import AsyncCallback, CronTriggerTimetable, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]

from operators.paging import page_late, pager

HOURLY = CronTriggerTimetable("@hourly", timezone="UTC", run_immediately=timedelta())
DAILY = CronTriggerTimetable("@daily", timezone="UTC", run_immediately=timedelta())
WEEKLY = CronTriggerTimetable("@weekly", timezone="UTC", run_immediately=timedelta())
DAY_BEFORE = CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(days=1), run_immediately=timedelta())
"""Daily, with the day before as the dag run's data interval, so that a backfill has one for each day."""


def over_within(**interval: float) -> DeadlineAlert:
    """A deadline for each run of a DAG, from the moment at which it is queued: `over_within(hours=12)`.

    A run that is not over by then pages by the notifier of the settings; it runs on.

    Raises:
        InputError: the notifier of the settings can't be made.
    """
    pager()  # what is wrong with the settings is told when the DAG is parsed, not on the day of the page
    callback = AsyncCallback(page_late)
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(**interval), callback=callback)
