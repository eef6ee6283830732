"""The requests of a ring that are not complete, and how others find them (io_uring/cancel.c)."""

from uringfs.abi.constants import IORING_OP_POLL_ADD
from uringfs.abi.events import IORING_POLL_ADD_MULTI
from uringfs.engine.request import Request


class Index:
    """The requests of one ring, in their order and by user_data."""

    def __init__(self) -> None:
        self.pending: dict[Request, None] = {}
        """Issued and not complete, or held back (links, drain), in their order."""
        self._issued: dict[int, dict[Request, None]] = {}  # by user_data
        self.polls: set[Request] = set()
        """Multishot POLL_ADDs that have been issued."""

    def begun(self, request: Request) -> None:
        """A request was issued, and waits: it counts as the newest."""
        self._issued.setdefault(request.sqe.user_data, {})[request] = None
        if request.sqe.opcode == IORING_OP_POLL_ADD and request.sqe.len & IORING_POLL_ADD_MULTI:
            self.polls.add(request)

    def remove(self, request: Request) -> None:
        """A request is complete."""
        self.pending.pop(request, None)
        self.hide(request)

    def hide(self, request: Request) -> None:
        """Nobody finds it any more, though it may be pending."""
        self.polls.discard(request)
        same = self._issued.get(request.sqe.user_data)
        if same is not None and request in same:
            del same[request]
            if not same:
                del self._issued[request.sqe.user_data]

    def pending_requests(self) -> list[Request]:
        """Issued and not complete, or held back, oldest first."""
        return list(self.pending)

    def issued(self, user_data: int | None = None) -> list[Request]:
        """Requests that have begun and are not complete, oldest first: with this user_data, or all."""
        if user_data is not None:
            return list(self._issued.get(user_data, ()))
        return [request for same in self._issued.values() for request in same]

    def set_user_data(self, request: Request, user_data: int) -> None:
        """Change the user_data of an issued request, which counts as the newest from then on."""
        self.hide(request)
        request.sqe = request.sqe._replace(user_data=user_data)
        self.begun(request)
