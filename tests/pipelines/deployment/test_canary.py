"""judge_canary: one look, one thing done, all of it in the journal."""

import json
import time

import pytest

from pipelines.__main__ import main
from pipelines.deployment.counts import Minute, Tally, counts_of, not_ready_of, read_counts, restarts_of
from pipelines.deployment.guardrails import REFUSED
from pipelines.deployment.probing import probe_overlap
from pipelines.deployment.stages import Plan
from pipelines.deployment.ticks import Terms, tick
from pipelines.errors import CorruptArtifact, InputError, NothingToDo, TryAgain
from pipelines.store.artifacts import load
from pipelines.store.journal import Routing, Split
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.pipelines.deployment.conftest import FIRST, counted, ranked_unseen

LEFT_OUT = ["overlap"]
P99 = "p99 can't be judged: 900 of 1,000 rankings of the champion in an hour; leave it out, or let RATCHET_CACHE keep fewer"
"""Ten minutes of `counted`: the last one has nine before it."""
UNSEEN = {"shadow": 0.5, "shadow_searches": 900}
pytestmark = pytest.mark.usefixtures("server")


def look(**terms):
    few = {"shares": "0.1 0.5", "searches": "500 500", "shadow": 0.0, "minutes": 0.0, "without": LEFT_OUT}
    return call("judge_canary", **{**few, **terms})


def shares(releases):
    return [(entry.action, entry.routing.split and entry.routing.split.share) for entry in releases.journal.entries[3:]]


def test_each_look_widens_the_share_while_nothing_is_broken(both):
    for entry in (3, 4, 5):
        counted(entry)
    looks = [look(who="ada", why="Friday") for _ in range(3)]
    assert [(seen.outcome, seen.waits, seen.share) for seen in looks] == [
        ("widened", True, 0.1), ("widened", True, 0.5), ("passed", False, 0.5),
    ]  # fmt: skip
    assert shares(both) == [("stage", 0.1), ("stage", 0.5), ("stage", 0.5)], "deploy does the rest"
    assert both.journal.entries[5].why == looks[2].note
    assert (look().outcome, len(both.journal.entries)) == ("passed", 6), "said once"
    splits = {entry.routing.split.name for entry in both.journal.entries[3:]}
    assert splits == {f"canary-{both.b[:8]}-4"}, "users keep their release"
    assert both.journal.entries[4].why == (
        f"stage 0.5 of canary-{both.b[:8]}-4: no guardrail is broken after 1,000 of 500 searches and 0 of 0 minutes at a share"
        f" of 0.1; {P99}; Friday"
    )
    assert (both.journal.entries[4].who, looks[2].note.partition(":")[0]) == ("ada", "PASSED")
    report = load(open_store(), "report", looks[2].report).json("report.json")
    assert [row[1:4] for row in report["first"][0]["rows"]] == [["10 %", 1000, 1000], ["50 %", 1000, 1000]]
    assert report["first"][0]["rows"][0][4:6] == ["2.26 / 2.26", "2.26 / 2.26"], "of the challenger and the champion"
    assert call("deploy", why="Monday").release == both.b
    assert both.journal.entries[-1].why == f"{looks[2].note}; Monday"


def test_nobody_deploys_past_a_deployment_that_has_not_passed(both, monkeypatch):
    counted(3)
    look()
    refused = f"canary-{both.b[:8]}-4, which has not passed: a share of 0.1 has release {both.b}"
    with pytest.raises(InputError, match=refused):
        call("deploy")
    verdict = both.journal.latest("promote", to=both.b).verdict
    assert call("promote", verdict=verdict).challenger is True, "in Airflow that starts `deploy`, perhaps in mode direct"
    monkeypatch.setenv("RATCHET_DAG", "deploy_release")
    monkeypatch.setenv("RATCHET_DAG_RUN", "asset__1")
    with pytest.raises(InputError, match=refused):
        call("deploy")
    assert look().outcome == "waits", "this dag run goes on with it"
    assert call("deploy", why="ASKS: only 0 of 500 searches").release == both.b, "it deploys after a pass or a yes alone"
    assert both.journal.entries[-1].why == "ASKS: only 0 of 500 searches"


def test_a_pass_is_none_once_the_share_was_changed_by_hand(both):
    for entry in (3, 4, 5):
        counted(entry)
    assert [look().outcome for _ in range(3)][-1] == "passed"
    call("split", share=0.2, who="ada")
    with pytest.raises(InputError, match=r"which has not passed: a share of 0\.2"):
        call("deploy")
    call("split", share=0, who="ada")
    call("deploy", why="it is urgent")
    assert both.journal.entries[-1].why == "direct: it is urgent"


def test_a_share_that_a_person_took_back_begins_its_stage_anew(both):
    for entry in (3, 4, 5):
        counted(entry)
    assert [look().share for _ in range(2)] == [0.1, 0.5]
    call("split", share=0.1, who="ada")
    seen = look()
    assert (seen.outcome, seen.share) == ("waits", 0.1)
    assert seen.sentence.startswith("no guardrail is broken so far: 0 of 500 searches"), "those of the first time count no more"


def test_a_split_of_a_person_is_not_named_as_a_deployment(both):
    with pytest.raises(InputError, match=r"--name canary-titles.*another name"):
        call("split", share=0.5, name="canary-titles")
    counted(3)
    look()
    name = both.journal.routing.split.name
    assert call("split", share=0.2, name=name).name == name, "a deployment that runs is named so"


def test_another_promotion_waits_for_the_end(both):
    counted(3)
    counted(4, errors=20)
    look()
    verdict = both.verdict(both.c, both.a)
    with pytest.raises(TryAgain, match=f"canary-{both.b[:8]}-4 deploys release {both.b}; expected one deployment at a time"):
        call("promote", verdict=verdict)
    assert look().outcome == "rolled back"
    assert call("promote", verdict=verdict).challenger is True


def test_it_is_ranked_unseen_before_users_have_it(both):
    counted(3)
    first = look(**UNSEEN)
    told = call("history").sentence
    assert f"; release {both.b} ranks 0.5 of the searches unseen" in told
    assert "of the users" not in told
    assert (first.outcome, first.waits, first.share) == ("widened", True, 0.0)
    name = f"canary-{both.b[:8]}-4"
    unseen = Routing(champion=both.a, challenger=both.b, split=Split(name=name, share=0), shadow=0.5)
    assert both.journal.routing == unseen
    counted(4, errors=100)
    told = "no guardrail is broken so far: 0 of 900 searches and 0 of 0 minutes in shadow, before any user has it"
    assert look(**UNSEEN).sentence == told, "what users searched says nothing of what was ranked unseen"
    ranked_unseen(4)
    seen = look(**UNSEEN)
    assert (seen.outcome, seen.share, both.journal.routing.shadow) == ("widened", 0.1, None)
    assert "after 1,000 of 900 searches" in both.journal.entries[-1].why
    report = load(open_store(), "report", seen.report)
    shadow = report.json("report.json")["tables"][1]
    assert [row[:3] for row in shadow["rows"]] == [
        ["p50, ms", "2.26", "2.26"], ["p99, ms", "2.26", "2.26"], ["errors", "0", "0"], ["without a result", "0", "0"],
    ]  # fmt: skip
    assert shadow["note"].startswith("The mean overlap of the first ten is 0.80, of 1,000 searches")
    assert [row[1:4] for row in report.json("report.json")["first"][0]["rows"]] == [["shadow", 1000, 1000], ["10 %", 0, 0]]
    counted(5)
    assert look(**UNSEEN).share == 0.5


def test_harm_is_seen_before_any_user_has_it(both):
    counted(3)
    look(**UNSEEN)
    ranked_unseen(4, errors=20)
    seen = look(**UNSEEN)
    assert (seen.outcome, seen.over) == ("rolled back", True)
    assert seen.sentence.startswith("errors: at least ")
    assert seen.sentence.endswith("(in shadow, before any user has it)")
    assert both.journal.routing == Routing(champion=both.a, challenger=both.b)
    with pytest.raises(InputError, match="which entry 5 took from its users"):
        call("deploy")


def test_a_policy_may_demand_an_overlap(both):
    counted(3)
    look(**UNSEEN)
    ranked_unseen(4, overlap=0.3)
    few = {"least_overlap": 0.5, "shadow": 0.5, "shadow_searches": 1001}
    assert look(**few).outcome == "waits", "too few searches say nothing"
    assert look(**few, most_minutes=1e-6).outcome == "asks", "what is demanded is not known"
    seen = look(least_overlap=0.5, **UNSEEN)
    assert seen.outcome == "rolled back"
    assert seen.sentence.startswith("overlap in shadow: 0.30 of the first ten on 1,000 searches, at least 0.5 demanded")


def test_searches_that_the_challenger_fails_in_shadow_have_no_overlap(both):
    counted(3)
    look(**UNSEEN)
    ranked_unseen(4, refused=100)  # no errors of the server, such as a filter on a field that its documents lack
    seen = look(least_overlap=0.5, **UNSEEN)
    assert seen.outcome == "rolled back"
    assert seen.sentence.startswith("overlap in shadow: 0.00 of the first ten on 1,000 searches, at least 0.5 demanded")


def test_a_shadow_of_few_searches_is_followed_by_the_first_users_and_says_so(both):
    counted(3)
    few = {"shadow": 0.5, "shadow_searches": 2000, "most_minutes": 1e-6}
    look(**few)
    assert look(**few).outcome == "asks", "nothing at all was ranked unseen"
    ranked_unseen(4)
    seen = look(**few)
    assert (seen.outcome, seen.share) == ("widened", 0.1)
    assert both.journal.entries[-1].why == (
        f"stage 0.1 of canary-{both.b[:8]}-4: no guardrail is broken, and yet there were only 1,000 of 2,000 searches and 0"
        f" of 0 minutes in shadow, before any user has it: what these did not show, the first users must; {P99}"
    )
    with pytest.raises(InputError, match=r"--least-overlap 0\.5 with --shadow 0"):
        look(least_overlap=0.5)


def test_what_is_checked_before_the_shadow_is_checked_again_before_the_first_users(both):
    checked = []
    terms = Terms(Plan((0.5,), (500,), 0.0, shadow_searches=900), LEFT_OUT, check=lambda release: checked.append(release.id))
    counted(3)
    assert tick(both.journal, "", terms).outcome == "widened"
    ranked_unseen(4)
    assert tick(both.journal, "", terms).outcome == "widened"
    counted(5)
    assert tick(both.journal, "", terms).outcome == "passed", "deploy checks it once more"
    assert checked == [both.b, both.b]


def test_an_address_that_is_none_is_refused(both, monkeypatch):
    monkeypatch.setenv("RATCHET_SERVER_URL", "http://127.0.0.1:port")
    with pytest.raises(InputError, match="an address"):
        probe_overlap(open_store(), both.a, both.b)


def test_a_person_ends_the_shadow_with_the_deployment(both):
    counted(3)
    look(**UNSEEN)
    with pytest.raises(InputError, match=r"before its first users.*split --share 0"):
        call("shadow", share=0.0)
    call("split", share=0, why="not today")
    assert both.journal.routing == Routing(champion=both.a, challenger=both.b)


def test_while_a_person_is_asked_harm_alone_is_acted_on(both):
    counted(3)
    look()
    assert look(most_minutes=1e-6).outcome == "asks"
    counted(4)
    seen = look(only_back=True)
    assert (seen.outcome, seen.waits, len(both.journal.entries)) == ("waits", True, 4), "it is the person who decides"
    counted(4, errors=20)
    back = look(only_back=True)
    assert (back.outcome, back.over, len(both.journal.entries)) == ("rolled back", True, 5)
    with pytest.raises(InputError, match="which entry 5 took from its users"):
        call("deploy")
    again = look(only_back=True)
    assert (again.outcome, again.over, len(both.journal.entries)) == ("rolled back", True, 5), "nothing begins anew"


def test_a_server_that_falls_silent_is_noticed(both):
    counted(3)
    look()
    told = [Minute(minute=FIRST + minute, ready=True, memory_mb=90) for minute in range(40, 46)]
    counted(4)
    counted(4, server="b:1", minutes=told)
    seen = look()
    assert (seen.outcome, seen.share) == ("waits", 0.1)
    assert seen.sentence.endswith("; only 1 of 2 servers still report what they count: look at the others")
    assert look(most_minutes=1e-6).outcome == "asks"
    counted(4, server="b:1", started=9.0, minutes=[Minute(minute=FIRST + 48, ready=True, memory_mb=90)])
    assert look().outcome == "widened", "a server that began anew is the same one"


def test_a_signal_that_stops_gives_nobody_more_the_challenger_and_is_named(both):
    counted(3)
    look()
    searched = Tally(searches=1000, latency={40: 1000})
    minute = Minute(minute=FIRST + 40, ready=True, memory_mb=100, champion=searched, challenger=searched)
    counted(4, minutes=[minute])
    seen = look()
    assert (seen.outcome, seen.share) == ("waits", 0.1)
    assert seen.sentence.endswith(
        "; no signal in this stage's last hour of clicks: no click arrived: tell of clicks by /v1/clicks"
    )
    asked = look(most_minutes=1e-6)
    assert asked.outcome == "asks"
    assert "and yet not everything is seen: a person decides; no signal" in asked.sentence
    assert look(without=[*LEFT_OUT, "clicks"]).outcome == "widened"
    all_clicked = dict.fromkeys(("champion", "challenger"), Tally(searches=9, clicked=9))
    long_ago = minute.model_copy(update={"minute": int(time.time() / 60) - 90, **all_clicked})
    counted(5, minutes=[long_ago, minute.model_copy(update={"minute": FIRST + 50})])
    assert look().outcome == "waits", "clicks of more than an hour ago are none"
    counted(5)
    assert look().outcome == "passed"


OF_TOMORROW = (
    b'{"server": "b:1", "started": 1, "entry": 4, "interval_s": 60, "minutes": [], "groups": {"champion": [[1, 0, 0, 0, 0]]}}'
)


@pytest.mark.parametrize("body", [b'{"damaged', OF_TOMORROW])
def test_counts_that_can_not_be_read_hide_no_harm_and_give_nobody_more_the_challenger(both, body):
    counted(3)
    look()
    open_store().write("counts/00000004/b.json", body)
    counted(4)
    seen = look()
    assert (seen.outcome, seen.share) == ("waits", 0.1)
    assert "; counts/00000004/b.json can't be read and was left out: " in seen.sentence
    counted(4, errors=20)
    back = look()
    assert back.outcome == "rolled back"
    assert load(open_store(), "report", back.report), "the report leaves it out, too"


def test_harm_takes_the_users_back_at_once_and_is_not_tried_again(both):
    counted(3)
    counted(4, errors=20)
    look()
    seen = look(shares="0.1 0.5", searches="500 500000", minutes=60.0)
    assert (seen.outcome, seen.over, seen.share) == ("rolled back", True, 0.0)
    assert seen.sentence.startswith("errors: at least ")
    entry = both.journal.entries[-1]
    assert entry.why == f"rolled back: canary-{both.b[:8]}-4 ends: {seen.sentence}"
    assert (call("why", release=both.b).deployment, call("why", release=both.a).deployment) == (entry.why, "")
    assert entry.routing == Routing(champion=both.a, challenger=both.b)
    report = load(open_store(), "report", seen.report).json("report.json")
    assert report["verdict"] == "rolled back"
    assert report["tables"][0]["rows"][1][:2] == ["p99", "not judged"]
    counted(5)
    with pytest.raises(InputError, match=r"which entry 5 took from its users: rolled back"):
        look()
    anew = both.verdict(both.b, both.a, sentence="passed: judged anew")
    with pytest.raises(NothingToDo, match=rf"release {both.b} was found harmful \(entry 5: .*pass --again true"):
        call("promote", verdict=anew)
    call("promote", verdict=anew, again=True)
    counted(6)
    assert look().outcome == "widened", "a person wants a new try"


def test_what_was_found_harmful_stays_so_when_others_were_promoted_since(both):
    counted(3)
    counted(4, errors=20)
    look()
    assert look().outcome == "rolled back"
    both.promoted(both.c)
    with pytest.raises(NothingToDo, match=rf"release {both.b} was found harmful \(entry 5: "):
        call("promote", verdict=both.verdict(both.b, both.a, sentence="passed: judged anew"))
    assert both.journal.routing.challenger == both.c


def test_what_was_found_harmful_is_promoted_again_by_the_same_verdict(both):
    """Its verdict is named by its recipe: `gate` would give the same one."""
    counted(3)
    look()
    counted(4, errors=20)
    assert look().outcome == "rolled back"
    verdict = both.verdict(both.b, both.a)
    same = call("promote", verdict=verdict)
    assert (same.changed, same.challenger) == (False, False), "no deployment is due, which would be refused"
    again = call("promote", verdict=verdict, again=True)
    assert (again.changed, again.entry) == (True, 6)
    counted(6)
    assert look().outcome == "widened"
    assert call("promote", verdict=verdict, again=True).changed is False, "nothing was found since"


def test_restarts_of_a_long_deployment_are_no_crash_loop(both, monkeypatch):
    counted(3)
    look()
    for number in range(4):
        counted(4, server="a:1", started=time.time() + 1 + number)
    ready = [*LEFT_OUT, "readiness"]
    later = time.time() + 7200
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.deployment.canary.time.time", lambda: later)
        assert look(without=ready, searches="500000 500000").outcome == "waits"
    seen = look(without=ready, searches="500000 500000")
    assert seen.outcome == "rolled back"
    assert seen.sentence.startswith("restarts: 3 of the servers within an hour, at most 2 tolerated")
    guardrails = load(open_store(), "report", seen.report).json("report.json")["tables"][0]
    assert guardrails["rows"][0][:2] == ["restarts", "no"], "what broke comes first"


def test_nothing_begins_where_servers_end_since_they_hold_the_challenger(both):
    for number in range(4):
        counted(3, server="a:1", started=time.time() + number)
    with pytest.raises(InputError, match=f"release {both.b}, since .* restarts: 3 of the servers within an hour, at most 2"):
        look()
    assert len(both.journal.entries) == 3
    assert look(without=[*LEFT_OUT, "restarts"]).outcome == "widened"


def test_a_new_promotion_is_a_new_try_without_the_restarts_of_the_one_before(both):
    for number in range(4):
        counted(3, server="a:1", started=time.time() + number)
    with pytest.raises(InputError, match="restarts: 3"):
        look()
    call("promote", verdict=both.verdict(both.b, both.a, sentence="passed: judged anew"))
    counted(4, server="a:1", started=time.time() + 4)
    assert look().outcome == "widened"


def test_a_try_that_was_killed_after_its_entry_is_made_good(both, monkeypatch):
    for name, value in (("DAG", "deploy_release"), ("DAG_RUN", "manual__1")):
        monkeypatch.setenv(f"RATCHET_{name}", value)
    counted(3)
    counted(4, errors=20)
    look()
    first = look()
    assert len(both.journal.entries) == 5
    again = look()
    assert (again.outcome, again.over, len(both.journal.entries)) == (first.outcome, True, 5)
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__2")
    with pytest.raises(InputError, match="took from its users"):
        look()


def test_a_person_who_ends_it_is_obeyed(both, monkeypatch):
    monkeypatch.setenv("RATCHET_DAG", "deploy_release")
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    counted(3)
    look()
    assert call("why", release="challenger").deployment == f"canary-{both.b[:8]}-4 runs, with a share of 0.1 of the users"
    call("split", share=0, why="the boss calls", who="ada")
    seen = look()
    assert (seen.outcome, seen.over) == ("stopped", True)
    assert call("why", release="challenger").deployment == seen.sentence
    assert seen.sentence == f"entry 5 by ada ended it: weight to {both.b}, the boss calls"


def test_a_dag_run_that_goes_on_with_anothers_deployment_obeys_who_ends_it(both, monkeypatch):
    counted(3)
    look()
    monkeypatch.setenv("RATCHET_DAG", "deploy_release")
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__2")
    assert [look().outcome for _ in range(2)] == ["waits", "waits"]
    assert both.journal.entries[4].why == f"canary-{both.b[:8]}-4 goes on: this dag run looks from now on"
    call("split", share=0, why="the boss calls", who="ada")
    counted(6)
    assert (look().outcome, len(both.journal.entries)) == ("stopped", 6)


def test_the_report_says_who_gave_a_share_and_has_numbers_that_any_reader_knows(both):
    counted(3)
    look(who="bob")
    few = Tally(searches=100, errors=1)  # the ratio has no upper bound
    counted(4, minutes=[Minute(minute=FIRST + 40, ready=True, memory_mb=100, champion=few, challenger=few)])
    call("split", share=0.5, who="ada")
    counted(5, errors=20)
    report = load(open_store(), "report", look(who="bob").report)
    assert [row[6] for row in report.json("report.json")["first"][0]["rows"]] == ["the guardrails, for bob", "ada, by hand"]
    stages = json.loads(report.path("canary.json").read_text(), parse_constant=pytest.fail)
    assert [stage["share"] for stage in stages] == [0.1, 0.5]


def test_the_report_shows_no_evidence_of_a_guardrail_that_was_left_out(both):
    left_out = [*LEFT_OUT, "errors"]
    counted(3)
    look(without=left_out)
    counted(4, errors=20)
    seen = look(without=left_out)
    assert seen.outcome == "widened"
    report = load(open_store(), "report", seen.report)
    assert max(report.json("report.json")["pictures"][0]["numbers"]) < REFUSED, "it was not rolled back"
    stages = json.loads(report.path("canary.json").read_text())
    assert "errors" not in {finding["name"] for stage in stages for finding in stage["findings"]}


def test_too_few_searches_wait_and_then_ask(both):
    counted(3)
    look()
    assert (look().outcome, look(most_minutes=1e-6).outcome) == ("waits", "asks")
    seen = look(most_minutes=1e-6)
    assert (seen.asks, seen.waits, seen.share) == (True, False, 0.1)
    assert seen.question == f"May all users have release {both.b[:8]}, which 10 % of them have, on too little evidence?"
    assert "only 0 of 500 searches" in seen.sentence
    assert look(most_minutes=1e-6).report == seen.report, "the same evidence"
    counted(
        4,
        minutes=[
            Minute(minute=FIRST + 40, ready=True, memory_mb=100, champion=Tally(searches=9), challenger=Tally(searches=4))
        ],
    )
    later = look(most_minutes=1e-6)
    assert (later.outcome, later.report == seen.report) == ("asks", False)
    report = load(open_store(), "report", later.report).json("report.json")
    assert report["first"][0]["rows"][0][2:4] == [4, 9], "what is seen now"


def test_nothing_begins_without_a_signal_which_is_named(both):
    assert look().sentence == "waits for a signal of errors, p99, p50, empty, clicks, memory, restarts"
    nothing = Minute(minute=FIRST + 30, ready=True, memory_mb=90, champion=Tally(searches=9, latency={40: 9}))
    counted(3, minutes=[nothing])
    assert look().sentence == "waits for a signal of clicks"
    with pytest.raises(InputError, match=r"clicks: no click arrived: tell of clicks by /v1/clicks.*or leave a guardrail out"):
        look(signal_minutes=0.0)
    assert look(without=[*LEFT_OUT, "clicks"]).outcome == "widened"
    assert both.journal.entries[-1].why.endswith("each guardrail's signal arrives, without overlap, clicks")


def test_searches_that_were_all_kept_are_no_signal_of_latency(both):
    kept = Minute(minute=FIRST + 30, ready=True, memory_mb=90, champion=Tally(searches=9, clicked=3))
    counted(3, minutes=[kept])
    assert look().sentence == "waits for a signal of p99, p50"


def test_a_quantile_that_could_not_be_judged_is_told_where_it_counts_and_no_longer_once_it_was(both):
    for entry in (3, 4):
        counted(entry)
    look()
    assert P99 in look().note + both.journal.entries[-1].why
    assert "judged" not in look().sentence, "while it waits, the hour fills"
    counted(5)
    assert "judged" not in look().sentence


def test_a_signal_of_yesterday_is_none(both):
    yesterday = int(time.time() / 60) - 1440
    counted(3, minutes=[Minute(minute=yesterday, ready=True, memory_mb=90, champion=Tally(searches=9, clicked=3))])
    with pytest.raises(InputError, match="no server wrote counts"):
        look(signal_minutes=0.0)
    counted(3)
    assert look().outcome == "widened"


def test_probe_queries_that_are_not_answered_are_no_signal_and_hide_no_harm(both, server):
    counted(3)
    assert look(without=[]).sentence == "waits for a signal of overlap", "this server answers /readyz alone"
    look()
    counted(4)
    seen = look(without=[])
    assert (seen.outcome, seen.share) == ("waits", 0.1), "nobody more gets what is not seen"
    assert "no overlap is known: server" in seen.sentence
    counted(4, errors=20)
    server.asked.clear()
    assert look(without=[]).outcome == "rolled back"
    assert "/v1/search" not in server.asked, "a slow server delays no rollback"


def test_probe_queries_that_take_long_are_not_waited_for(both, server, monkeypatch):
    monkeypatch.setattr("pipelines.deployment.probing.PROBES_S", 0.0)
    with pytest.raises(TryAgain, match=r"20 probe queries of two releases took more than 0 s"):
        probe_overlap(open_store(), both.a, both.b)


def test_signals_have_their_time_since_servers_have_the_challenger_in_memory(both, monkeypatch):
    promoted = time.time()
    loaded = int(promoted / 60) + 30
    nothing = Minute(minute=loaded, ready=True, memory_mb=90, champion=Tally(searches=9, latency={40: 9}))
    counted(3, minutes=[nothing])
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.deployment.ticks.time.time", lambda: 60.0 * loaded + 300)
        assert look().sentence == "waits for a signal of clicks"
        patch.setattr("pipelines.deployment.ticks.time.time", lambda: 60.0 * loaded + 660)
        with pytest.raises(InputError, match="no click arrived"):
            look()


def test_servers_that_never_write_counts_are_named_once_signals_had_their_time(both, server, monkeypatch):
    later = time.time() + 660
    monkeypatch.setattr("pipelines.deployment.ticks.time.time", lambda: later)
    with pytest.raises(InputError, match="no server wrote counts"):
        look()
    server.load_after(3)  # it is asked whether it is one, and twice in vain
    assert look(wait_s=60).outcome == "waits", "they have the challenger just now"


def test_servers_that_could_not_write_while_the_store_was_away_are_not_silent(both, monkeypatch):
    counted(3)
    look()
    later = time.time() + 7 * 60

    def written(_):
        counted(4, minutes=[Minute(minute=int(later / 60) - back, ready=True, memory_mb=90) for back in range(8)])

    monkeypatch.setattr("pipelines.deployment.canary.time.time", lambda: later)
    monkeypatch.setattr("pipelines.deployment.canary.time.sleep", written)
    assert look().outcome == "waits"


def test_servers_that_all_fall_silent_are_not_ready(both, monkeypatch):
    """A release that ends its servers before they can tell of it leaves no counts."""
    counted(3)
    look()
    now = time.time()
    for minutes, outcome in ((4, "waits"), (7, "rolled back")):
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.deployment.canary.time.time", lambda minutes=minutes: now + 60 * minutes)
            patch.setattr("pipelines.deployment.canary.SECOND_LOOK_S", 0.0)
            seen = look()
        assert seen.outcome == outcome
    assert seen.sentence.startswith("readiness: no server has told anything for 7 minutes, at most 5 tolerated")


def test_what_can_not_begin_is_refused(releases, server, capsys):
    with pytest.raises(InputError, match="deploy the first by `deploy`"):
        look()
    releases.deployed(releases.a)
    with pytest.raises(InputError, match="no challenger"):
        look()
    releases.promoted(releases.b)
    with pytest.raises(InputError, match=f"release {releases.c} while {releases.b} is the challenger"):
        look(release=releases.c)
    call("split", share=0.5)
    with pytest.raises(InputError, match="end it by `split --share 0`"):
        look()
    for arguments in (["--shares", "0.1 x"], ["--shares", "0.5 0.1"], ["--searches", "1"], ["--without", "beauty"]):
        assert main(["judge-canary", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert len(releases.journal.entries) == 4


def test_counts_of_all_processes_are_one(both):
    counted(3)
    counted(3, errors=5, server="b:1", started=2.0)
    unready = [Minute(minute=FIRST + minute, ready=False, memory_mb=120) for minute in (90, 91)]
    counted(3, server="b:1", started=9.0, minutes=unready[:1])
    counted(4, server="b:1", started=9.0, minutes=unready)
    read = read_counts(open_store(), [2, 3, 4])
    counts, strata = counts_of(read)
    assert (len(read), len(strata), strata[0]) == (4, 13, (3, FIRST + 30))
    assert (counts.searches[0].tolist(), counts.errors[0].tolist()) == ([200, 200], [0, 5])
    assert counts.latency[0, 0, 40] == 200
    assert counts.memory[0] == 1.0
    assert (restarts_of(read, since=0.0), restarts_of(read, since=9.5)) == (1, 0)
    assert not_ready_of(read) == 2, "a minute of two entries is one"
    open_store().write("counts/00000003/x.json", b"{}")
    with pytest.raises(CorruptArtifact, match="move it away"):
        read_counts(open_store(), [3])
