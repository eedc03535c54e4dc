"""When DAGs run by the clock.

Airflow runs a DAG that it sees for the first time at once if its last time is less than a tenth of the interval ago: a weekly
one until Sunday afternoon. `run_immediately` of no time at all makes each wait for its next time.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable

HOURLY = CronTriggerTimetable("@hourly", timezone="UTC", run_immediately=timedelta())
DAILY = CronTriggerTimetable("@daily", timezone="UTC", run_immediately=timedelta())
WEEKLY = CronTriggerTimetable("@weekly", timezone="UTC", run_immediately=timedelta())
DAY_BEFORE = CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(days=1), run_immediately=timedelta())
"""Daily, with the day before as the dag run's data interval, so that a backfill has one for each day."""
