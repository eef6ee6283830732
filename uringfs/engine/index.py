"""The requests of a ring that are not complete, and how others find them (io_uring/cancel.c)."""

from uringfs.engine.request import Request, RingContext


class Index(RingContext):
    def __init__(self) -> None:
        self.pending: dict[Request, None] = {}
        """Issued and not complete, or held back (links, drain), in their order."""
        self._issued: dict[int, dict[Request, None]] = {}  # by user_data

    def _index(self, request: Request) -> None:
        """It has begun. It counts as the newest."""
        self._issued.setdefault(request.sqe.user_data, {})[request] = None

    def _unindex(self, request: Request) -> None:
        same = self._issued.get(request.sqe.user_data)
        if same is not None and request in same:
            del same[request]
            if not same:
                del self._issued[request.sqe.user_data]

    def pending_requests(self) -> list[Request]:
        return list(self.pending)

    def issued(self, user_data: int | None = None) -> list[Request]:
        if user_data is not None:
            return list(self._issued.get(user_data, ()))
        return [request for same in self._issued.values() for request in same]

    def set_user_data(self, request: Request, user_data: int) -> None:
        self._unindex(request)
        request.sqe = request.sqe._replace(user_data=user_data)
        self._index(request)
