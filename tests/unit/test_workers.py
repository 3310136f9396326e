"""Calls run in a few daemon threads, in order; one that waits holds no thread; cancelling and closing end waits."""

import asyncio
import contextvars
import threading
import time
import weakref
from concurrent.futures import CancelledError
from queue import Empty, SimpleQueue

import pytest

from lambda_adapter._call.steps import drive
from lambda_adapter._call.threads import take
from lambda_adapter._call.workers import Workers
from support.waiting import FOREVER_S, SOON_S


@pytest.fixture
def make_workers():
    made = []

    def make(max_threads=2, **settings):
        made.append(Workers("test", max_threads, **settings))
        return made[-1]

    yield make
    for workers in made:
        workers.close()


class HeldStep:
    """A step that says when it has begun, and ends when it is told to."""

    def __init__(self):
        self.begun = threading.Event()
        self.opened = threading.Event()

    def steps(self, result=None, delay_s=None):
        self.begun.set()
        assert self.opened.wait(SOON_S)
        if delay_s is not None:
            result = yield delay_s
        return result

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.opened.set()


def at_once(result):
    return result
    yield


def waiting(delay_s):
    """The thread that began it, what it was sent after its wait, and the thread that went on."""
    before = threading.current_thread()
    go_on = yield delay_s
    return before, go_on, threading.current_thread()


# -- drive ----------------------------------------------------------------------------------------


def test_drive_waits_between_steps_and_passes_on_whether_to_go_on():
    sent, delays = [], []

    def steps():
        sent.append((yield 1.0))
        sent.append((yield 2.0))
        return "done"

    assert drive(steps(), lambda delay_s: delays.append(delay_s) or delay_s < 2) == "done"
    assert (sent, delays) == ([True, False], [1.0, 2.0])


def test_drive_of_steps_without_a_wait():
    assert drive(at_once("done"), lambda delay_s: pytest.fail("nothing to wait for")) == "done"


def test_drive_passes_an_exception_on():
    def steps():
        yield 1.0
        raise KeyError("x")

    with pytest.raises(KeyError):
        drive(steps(), lambda delay_s: True)


# -- Threads --------------------------------------------------------------------------------------


def test_calls_run_in_named_daemon_threads(make_workers):
    thread, _, _ = make_workers().submit(waiting, 0.001).result(SOON_S)
    assert thread.daemon
    assert thread.name.startswith("test-")
    assert thread is not threading.current_thread()


def test_no_thread_is_started_before_it_is_needed():
    workers = Workers("unneeded", 64)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unneeded")]
    workers.close()


@pytest.mark.parametrize("max_threads", [1, 3, 32])
def test_as_many_calls_as_allowed_run_at_once_and_no_more(make_workers, max_threads):
    workers, lock, running, most = make_workers(max_threads), threading.Lock(), set(), []
    together = threading.Barrier(max_threads)

    def steps(number):
        with lock:
            running.add(number)
            most.append(len(running))
        if number < max_threads:
            together.wait(SOON_S)
        with lock:
            running.remove(number)
        return threading.current_thread()
        yield

    futures = [workers.submit(steps, number) for number in range(max_threads * 4)]
    threads = {future.result(SOON_S) for future in futures}
    assert max(most) == max_threads
    assert len(threads) <= max_threads


def test_calls_begin_in_the_order_in_which_they_came(make_workers):
    workers, order = make_workers(1), []

    def steps(number):
        order.append(number)
        return number
        yield

    with HeldStep() as gate:
        workers.submit(gate.steps)
        assert gate.begun.wait(SOON_S)
        futures = [workers.submit(steps, number) for number in range(50)]
    assert [future.result(SOON_S) for future in futures] == list(range(50))
    assert order == list(range(50))


def test_calls_of_many_threads_all_get_their_own_result(make_workers):
    workers, start, results = make_workers(4), threading.Barrier(8), {}

    def submit(caller):
        start.wait(SOON_S)
        futures = [workers.submit(at_once, (caller, number)) for number in range(50)]
        results[caller] = [future.result(SOON_S) for future in futures]

    threads = [threading.Thread(target=submit, args=(caller,)) for caller in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SOON_S)
    assert results == {caller: [(caller, number) for number in range(50)] for caller in range(8)}


@pytest.mark.parametrize("error", [KeyError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_arrives_and_the_thread_lives_on(make_workers, error):
    workers = make_workers(1)

    def steps():
        raise error("x")
        yield

    # A generator cannot raise StopIteration: it becomes a RuntimeError, and hangs nobody.
    expected = RuntimeError if error is StopIteration else error
    assert type(workers.submit(steps).exception(SOON_S)) is expected
    assert workers.submit(at_once, 5).result(SOON_S) == 5


def test_a_function_that_makes_no_steps_raises_to_its_caller(make_workers):
    def broken():
        raise KeyError("x")

    with pytest.raises(KeyError):
        make_workers().submit(broken)


def test_a_call_that_is_over_keeps_neither_its_payload_nor_its_answer_alive(make_workers):
    workers, gone = make_workers(1), (threading.Event(), threading.Event())

    class Held:
        pass

    def steps(payload):
        assert payload is not None
        answer = Held()
        weakref.finalize(answer, gone[1].set)
        return answer
        yield

    payload = Held()
    weakref.finalize(payload, gone[0].set)
    workers.submit(steps, payload).result(SOON_S)
    del payload
    assert gone[0].wait(5)  # less than an idle thread stays
    assert gone[1].wait(5)


# -- Waiting --------------------------------------------------------------------------------------


def test_a_wait_ends_after_its_time_and_goes_on(make_workers):
    started = time.monotonic()
    _, go_on, _ = make_workers().submit(waiting, 0.05).result(SOON_S)
    assert go_on is True
    assert time.monotonic() - started >= 0.05


def test_calls_that_wait_hold_no_thread(make_workers):
    workers = make_workers(1)
    parked = [workers.submit(waiting, FOREVER_S) for _ in range(20)]
    assert workers.submit(at_once, 5).result(SOON_S) == 5
    assert all(future.running() for future in parked)


def test_waits_end_in_the_order_of_their_times(make_workers):
    now, order = [0.0], []
    workers = make_workers(1, clock=lambda: now[0])

    def steps(delay_s):
        yield delay_s
        order.append(delay_s)

    futures = [workers.submit(steps, delay_s) for delay_s in (600.0, 200.0, 400.0, 300.0)]
    workers.submit(at_once, None).result(SOON_S)  # the only thread is free again, so all of them wait
    now[0] = 1_000.0
    workers.submit(at_once, None).result(SOON_S)  # wakes it
    for future in futures:
        future.result(SOON_S)
    assert order == [200.0, 300.0, 400.0, 600.0]


def test_a_call_that_has_waited_goes_before_one_that_has_not_begun(make_workers):
    now, order, parked = [0.0], [], threading.Event()
    workers = make_workers(1, clock=lambda: now[0])

    def steps(name, delay_s=None):
        if delay_s is not None:
            parked.set()
            yield delay_s
        order.append(name)

    waited = workers.submit(steps, "waited", 1_000.0)
    assert parked.wait(SOON_S)
    with HeldStep() as gate:
        workers.submit(gate.steps)
        assert gate.begun.wait(SOON_S)
        new = workers.submit(steps, "new")
        now[0] = 1_000.0
    new.result(SOON_S)
    waited.result(SOON_S)
    assert order == ["waited", "new"]


def test_a_thread_that_is_idle_watches_calls_that_wait(make_workers):
    """Nothing else happens that could wake a thread in time."""
    workers = make_workers(1)
    assert workers.submit(at_once, 5).result(SOON_S) == 5
    assert [workers.submit(waiting, 0.02).result(SOON_S)[1] for _ in range(5)] == [True] * 5


def test_a_short_wait_is_not_held_up_by_longer_ones():
    """However many threads are idle, and whichever of them watches the longer wait."""
    for _ in range(30):
        workers, together = Workers("test", 32), threading.Barrier(16)

        def meet(together=together):
            together.wait(SOON_S)
            return
            yield

        for future in [workers.submit(meet) for _ in range(16)]:
            future.result(SOON_S)
        for _ in range(3):
            workers.submit(waiting, FOREVER_S)
        short = workers.submit(waiting, 0.01)
        try:
            assert short.result(1.0)[1] is True
        finally:
            workers.close()


def test_many_calls_that_wait_again_and_again_all_end(make_workers):
    workers = make_workers(4)

    def steps(number):
        for turn in range(5):
            assert (yield (number * 7 + turn * 3) % 10 / 1_000)
        return number

    futures = [workers.submit(steps, number) for number in range(200)]
    assert [future.result(SOON_S) for future in futures] == list(range(200))


# -- Cancelling -----------------------------------------------------------------------------------


def test_a_call_that_is_cancelled_before_it_began_never_begins(make_workers):
    workers, begun = make_workers(1), []

    def steps():
        begun.append(True)
        return
        yield

    with HeldStep() as gate:
        first = workers.submit(gate.steps)
        assert gate.begun.wait(SOON_S)
        future = workers.submit(steps)
        assert future.cancel() is True
    first.result(SOON_S)
    assert workers.submit(at_once, 5).result(SOON_S) == 5  # so the thread has passed the cancelled one
    assert begun == []
    with pytest.raises(CancelledError):
        future.result(0)


def test_a_call_that_is_cancelled_in_a_wait_ends_at_once_in_the_cancelling_thread(make_workers):
    workers = make_workers(1)
    future = workers.submit(waiting, FOREVER_S)
    workers.submit(at_once, None).result(SOON_S)  # the only thread is free again, so the call waits
    assert future.cancel() is False
    _, go_on, thread = future.result(0)
    assert go_on is False
    assert thread is threading.current_thread()


def test_a_call_that_is_cancelled_within_a_step_ends_after_it(make_workers):
    workers = make_workers(1)
    with HeldStep() as gate:
        future = workers.submit(gate.steps, None, FOREVER_S)
        assert gate.begun.wait(SOON_S)
        assert future.cancel() is False
        assert not future.done()
    assert future.result(SOON_S) is False


def test_cancelling_one_call_leaves_the_others_waiting_for_their_own_times(make_workers):
    now = [0.0]
    workers = make_workers(1, clock=lambda: now[0])
    delays = (100.0, 500.0, 200.0, 600.0, 550.0, 300.0)
    waits = {delay_s: workers.submit(waiting, delay_s) for delay_s in delays}
    workers.submit(at_once, None).result(SOON_S)  # the only thread is free again, so all of them wait
    waits[100.0].cancel()
    assert waits[100.0].result(0)[1] is False
    for time_s, due in ((250.0, [200.0]), (520.0, [300.0, 500.0]), (1_000.0, [550.0, 600.0])):
        now[0] = time_s
        workers.submit(at_once, None).result(SOON_S)  # wakes the thread; what has waited goes first
        assert [waits[delay_s].result(0)[1] for delay_s in due] == [True] * len(due)
        assert all(waits[delay_s].running() for delay_s in delays if delay_s > time_s)


def test_cancelling_twice_or_after_the_end_changes_nothing(make_workers):
    workers = make_workers(1)
    done = workers.submit(at_once, 5)
    assert done.result(SOON_S) == 5
    assert done.cancel() is False
    assert done.result(0) == 5
    waits = workers.submit(waiting, FOREVER_S)
    workers.submit(at_once, None).result(SOON_S)
    waits.cancel()
    waits.cancel()
    assert waits.result(0)[1] is False


# -- Closing --------------------------------------------------------------------------------------


def test_close_ends_what_waits_at_once_and_in_the_closing_thread(make_workers):
    workers = make_workers(1)
    futures = [workers.submit(waiting, FOREVER_S) for _ in range(5)]
    workers.submit(at_once, None).result(SOON_S)
    workers.close()
    for future in futures:
        _, go_on, thread = future.result(0)
        assert (go_on, thread) == (False, threading.current_thread())


def test_close_runs_what_has_not_begun_in_the_closing_thread(make_workers):
    """The steps themselves know that all is closed; here they are only begun, so that nobody waits for ever."""
    workers = make_workers(1)

    def steps():
        return workers.closed, threading.current_thread()
        yield

    with HeldStep() as gate:
        workers.submit(gate.steps)
        assert gate.begun.wait(SOON_S)
        future = workers.submit(steps)
        workers.close()
        assert future.result(0) == (True, threading.current_thread())


def test_close_lets_the_step_in_flight_finish(make_workers):
    workers = make_workers(1)
    with HeldStep() as gate:
        last = workers.submit(gate.steps, "result")
        assert gate.begun.wait(SOON_S)
        workers.close()
        assert not last.done()
    assert last.result(SOON_S) == "result"


def test_a_step_in_flight_at_the_close_waits_no_more_after_it(make_workers):
    workers = make_workers(1)
    with HeldStep() as gate:
        future = workers.submit(gate.steps, None, FOREVER_S)
        assert gate.begun.wait(SOON_S)
        workers.close()
    assert future.result(SOON_S) is False


def test_after_the_close_a_call_runs_in_its_callers_thread_and_waits_for_nothing(make_workers):
    workers = make_workers(1)
    workers.close()
    assert workers.submit(waiting, FOREVER_S).result(0) == (
        threading.current_thread(),
        False,
        threading.current_thread(),
    )


def test_closing_twice_is_harmless(make_workers):
    workers = make_workers(1)
    assert workers.closed is False
    workers.close()
    workers.close()
    assert workers.closed is True


def test_after_the_close_the_threads_go(make_workers):
    workers = make_workers(3)
    together, threads = threading.Barrier(3), []

    def steps():
        threads.append(threading.current_thread())
        together.wait(SOON_S)
        return
        yield

    for future in [workers.submit(steps) for _ in range(3)]:
        future.result(SOON_S)
    workers.submit(waiting, FOREVER_S)  # and one thread watches this
    workers.close()
    for thread in threads:
        thread.join(5)  # less than an idle thread stays
        assert not thread.is_alive()


def test_close_from_within_a_call_does_not_wait_for_itself(make_workers):
    workers = make_workers(1)

    def steps():
        workers.close()
        return (yield FOREVER_S)

    assert workers.submit(steps).result(SOON_S) is False


def test_wait_sleeps_its_time_and_says_to_go_on(make_workers):
    started = time.monotonic()
    assert make_workers().wait(0.02) is True
    assert time.monotonic() - started >= 0.02


def test_close_wakes_who_waits_in_a_thread_of_its_own(make_workers):
    workers, begun, woken = make_workers(), threading.Event(), []

    def sleep():
        begun.set()
        woken.append(workers.wait(FOREVER_S))

    thread = threading.Thread(target=sleep)
    thread.start()
    assert begun.wait(SOON_S)
    workers.close()
    thread.join(SOON_S)
    assert woken == [False]


def test_leaving_the_executor_of_the_standard_library_api_is_not_needed_for_an_event_loop(make_workers):
    async def call(workers):
        return await asyncio.get_running_loop().run_in_executor(workers, at_once, 5)

    workers = make_workers()
    assert [asyncio.run(call(workers)) for _ in range(2)] == [5, 5]


# -- Context variables ----------------------------------------------------------------------------

variable = contextvars.ContextVar("variable", default="unset")


def test_context_variables_of_the_caller_are_seen_in_every_step(make_workers):
    workers = make_workers(1)

    def steps():
        seen = [variable.get()]
        yield 0.001
        seen.append(variable.get())
        variable.set("changed within")
        yield 0.001
        return [*seen, variable.get()]

    token = variable.set("the caller's")
    try:
        future = workers.submit(steps)
        variable.set("changed afterwards")
        assert future.result(SOON_S) == ["the caller's", "the caller's", "changed within"]
        assert variable.get() == "changed afterwards"
    finally:
        variable.reset(token)
    assert workers.submit(steps).result(SOON_S)[0] == "unset"


def test_a_call_that_is_ended_by_another_thread_still_has_its_own_context(make_workers):
    workers = make_workers(1)

    def steps():
        yield FOREVER_S
        return variable.get()

    future = contextvars.copy_context().run(lambda: (variable.set("its own"), workers.submit(steps))[1])
    workers.submit(at_once, None).result(SOON_S)
    workers.close()
    assert future.result(0) == "its own"


# -- Forking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_after_a_fork_all_begins_anew_but_closed_stays_closed(make_workers, closed):
    workers = make_workers(1)
    waits = workers.submit(waiting, FOREVER_S)
    workers.submit(at_once, None).result(SOON_S)
    if closed:
        workers.close()
    workers._lock.acquire()  # as a thread that does not exist in the child would have left it
    changed = workers._lock
    workers.reset_after_fork()
    try:
        assert workers.closed is closed
        assert workers.submit(at_once, 5).result(SOON_S) == 5
        assert waits.running() is not closed
    finally:
        changed.release()


def test_a_call_that_has_its_result_holds_no_place():
    """Whoever waits for one call before the next is never refused."""
    workers, ended = Workers("test", 1, max_pending=0), []
    happened = threading.Event()

    def next_one(_):
        try:
            ended.append(workers.submit(at_once, "second"))
        except Exception as exc:
            ended.append(exc)
        happened.set()

    began, go_on = threading.Event(), threading.Event()

    def first():
        began.set()
        assert go_on.wait(SOON_S)
        return "first"
        yield

    future = workers.submit(first)
    assert began.wait(SOON_S)
    future.add_done_callback(next_one)
    go_on.set()
    assert happened.wait(SOON_S)
    workers.close()
    assert not isinstance(ended[0], Exception)


def test_a_call_that_was_cancelled_in_the_queue_holds_no_place():
    workers, gate, began = Workers("test", 1, max_pending=1), threading.Event(), threading.Event()

    def busy():
        began.set()
        gate.wait(SOON_S)
        return "busy"
        yield

    try:
        workers.submit(busy)
        assert began.wait(SOON_S)
        for _ in range(5):
            assert workers.submit(at_once, "queued").cancel()
        assert not workers.submit(at_once, "queued").done()
    finally:
        gate.set()
        workers.close()


@pytest.mark.parametrize(("timeout_s", "times"), [(0, 100_000), (1e-6, 30_000)], ids=["none", "short"])
def test_an_alarm_that_is_due_at_once_is_not_waited_for_for_ever(timeout_s, times):
    """A SimpleQueue's own get hangs here within 50,000 times, up to CPython 3.12."""
    alarm, waited = SimpleQueue(), []

    def wait():
        for number in range(times):
            alarm.put(number)
            assert take(alarm, timeout_s) == number
            with pytest.raises(Empty):
                take(alarm, timeout_s)
        waited.append(times)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(6 * SOON_S)
    assert waited == [times]
