"""What calls take up while they are read, run and wait: places, memory, and the answers that nobody fetches."""

import contextlib
from collections.abc import Iterator

from answers import MAX_FILE, Refused

MAX_BODY = MAX_FILE * 4 // 3 + 1_000_000  # bytes of one request: a file of that size in base64, and what stands around it
MAX_HELD = 8 * MAX_BODY  # bytes of all calls together that are in memory at once
MAX_CALLS = 100  # calls that run or wait at both doors together; more are told that the server is busy
MAX_UNREAD = 6 * MAX_CALLS  # words to callers that wait to be fetched, three to a call; an answer with a picture takes 0.4 MB


class Room:
    """The places and bytes of all calls at both doors, beside what Gradio's own queue, which bounds neither bytes nor answers,
    holds of them."""

    def __init__(self, queue):
        self.queue = queue  # Gradio's
        self.calls = 0  # that run in one shot, or are on their way into the queue
        self.held = 0  # bytes
        self.queued: dict[str, int] = {}  # bytes of the calls that Gradio keeps in its queue, by their names

    def take(self, size: int) -> None:
        """Count that many bytes more of a call that is being read; raise Refused where all calls together hold too many."""
        self.held += size
        if self.held + self.in_queue() > MAX_HELD:
            raise Refused(503)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while a call is passed on to Gradio; raise Refused where MAX_CALLS run or wait."""
        if self.calls + len(self.queue.event_ids_to_events) >= MAX_CALLS:
            raise Refused(503)
        self.forget()
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    def in_queue(self) -> int:
        """Return the bytes of the calls in Gradio's queue."""
        if self.queued:
            self.queued = {event: size for event, size in self.queued.items() if event in self.queue.event_ids_to_events}
        return sum(self.queued.values())

    def has_answer(self, event: str) -> bool:
        """Say whether a call of this name waits, or its answer."""
        waiting = self.queue.pending_event_ids_session
        return any(event in events for events in (waiting.get(event, ()), *waiting.values()))

    def listens(self, session: str) -> bool:
        """Say whether there is anything to be told to a caller."""
        return session in self.queue.pending_messages_per_session

    def forget(self) -> None:
        """Drop the names of calls whose answers Gradio no longer holds; it holds 2,000, and all names for ever."""
        names, answers = self.queue.pending_event_ids_session, self.queue.pending_messages_per_session
        if len(names) > 4000:
            for session in [session for session in names if session not in answers]:
                del names[session]

    def drop_unread(self) -> None:
        """Drop the oldest answers that nobody fetched; Gradio holds any number for each of 2,000 callers."""
        names, answers = self.queue.pending_event_ids_session, self.queue.pending_messages_per_session
        unread = sum(answer.qsize() for answer in answers.values())
        if unread > MAX_UNREAD:
            busy = {event.session_hash for event in self.queue.event_ids_to_events.values()}
            for session, answer in list(answers.items()):
                if unread <= MAX_UNREAD:
                    break
                if not answer.qsize():  # somebody listens
                    continue
                unread -= answer.qsize()
                while answer.qsize():
                    answer.get_nowait()
                if session not in busy:  # else Gradio would look for it
                    del answers[session]
                    names.pop(session, None)
