"""`Host`: one exchange with its API, its faults and what its streams have to tell. No sockets, no clock, one thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botlib.errors import InputError
from botlib.sandbox import formats, wire
from botlib.sandbox.api import Api
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.faults import Fault, Faults, Outcome
from botlib.sandbox.messages import Query, Request, Response, answer
from botlib.sandbox.orders import Refusal
from botlib.sandbox.prints import Prints
from botlib.sandbox.streams import Event, known
from botlib.sandbox.synthetic import is_synthetic
from botlib.sandbox.tape import is_whole

_HALT = {"sc": "2", "sm": "Trading Halt", "rc": "M", "rm": "Volatility Trading Pause", "z": "A"}
_RESUME = {"sc": "3", "sm": "Resume", "rc": "", "rm": "", "z": "A"}


class Host:
    """What the server, control calls and a test act on.

    Parameters
    ----------
    exchange : Exchange
    faults : Faults
    keys : (str, str)
        Of the account.
    rate_limit : int or None
        Requests a minute; None: no limit.
    clock : function
        Seconds, for the rate limit.
    basic_plan : bool
        The free data plan.
    unfinished_bars : bool
        As `Api`.
    stepped : bool
        Whether control calls move the market; else a clock does.

    Attributes
    ----------
    wanted : function of (letter, symbol) to bool
        Whether anybody listens to such market data; what nobody wants is not made.
    """

    def __init__(self, exchange: Exchange, faults: Faults, *, keys: tuple[str, str], rate_limit: int | None = None,
                 clock: Callable[[], float] | None = None, basic_plan: bool = False, unfinished_bars: bool = True,
                 stepped: bool = True) -> None:
        self.exchange, self.faults, self.keys, self.stepped = exchange, faults, keys, stepped
        self.api = Api(exchange, keys=keys, rate_limit=rate_limit, clock=clock, basic_plan=basic_plan,
                       unfinished_bars=unfinished_bars)
        self.synthetic = is_synthetic(exchange.bars)
        self._told = len(exchange.updates)
        self._events: list[Event] = []
        self._halted: set[str] = set()
        self._prints: dict[str, Prints] = {}
        self.wanted: Callable[[str, str], bool] = lambda letter, symbol: True
        faults.world(exchange)

    # --- requests -----------------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Outcome:
        """Answer a request under the script of faults; paths under /sandbox/ are control calls and meet none."""
        if request.path.startswith("/sandbox/"):
            return Outcome(self.control(request))
        return self.faults.around(request, self.api.handle, self.exchange)

    def control(self, request: Request) -> Response:
        """Move the market, look at it, script faults. The account's keys are needed here, too.

        GET /sandbox/state; POST /sandbox/step?n=1; GET, POST (a fault or a list of them) and DELETE /sandbox/faults.
        """
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not known(self.keys, headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")):
            return answer({"message": "unauthorized."}, 401)
        try:
            return self._control(f"{request.method.upper()} {request.path}", request)
        except Refusal as refusal:
            return answer(wire.error(refusal), refusal.status)
        except (InputError, ValueError, TypeError) as error:
            return answer({"code": 42210000, "message": str(error)}, 422)

    def _control(self, call: str, request: Request) -> Response:
        if call == "GET /sandbox/state":
            return answer(self.state())
        if call == "POST /sandbox/step":
            stepped = self.step(Query(request.query).integer("n", 1, 1, 10_000_000))
            return answer({**self.state(), "stepped": stepped})
        if call == "POST /sandbox/faults":
            script = json.loads(request.body)
            self.add_faults(*(script if isinstance(script, list) else [script]))
        elif call == "DELETE /sandbox/faults":
            self.faults.clear()
        elif call != "GET /sandbox/faults":
            return answer({"code": 40410000, "message": f"there is no {call}; there are GET /sandbox/state, POST "
                                                        "/sandbox/step and GET, POST, DELETE /sandbox/faults"}, 404)
        self.world()
        return answer({"faults": self.faults.state(), "log": [list(entry) for entry in self.faults.log]})

    def add_faults(self, *script: Fault | Mapping[str, Any]) -> None:
        """Add faults to the script. Raises `InputError`."""
        self.faults.add(*self.faults.fit(self.exchange.bars, *script))

    def state(self) -> dict[str, Any]:
        """Where the replay is, for JSON."""
        x = self.exchange
        return {"account_id": x.account_id, "bar": x.bar, "bars": len(x.bars), "done": x.done,
                "equity": formats.money(x.equity), "in_progress": x.tape.in_progress, "interval": x.bars.interval,
                "is_open": x.tape.is_open, "moved_by": "steps" if self.stepped else "clock",
                "now": formats.timestamp(x.now), "open_orders": sum(o.open for o in x.orders.values()),
                "positions": len(x.positions), "symbols": list(x.bars.symbols),
                "synthetic": ["bars"] * self.synthetic + ["quotes", "trades"]}

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self, n: int = 1) -> int:
        """The next ``n`` bars happen, whole; how many there were. Raises `InputError` as `check_steps`."""
        self.check_steps(n)
        for done in range(n):
            if self.exchange.done:
                return done
            self._open()
            self._close()
        return n

    def check_steps(self, n: object) -> None:
        """Raise `InputError` when a clock moves the market, or ``n`` is no number of bars."""
        if not self.stepped:
            raise InputError("a clock moves this market (speed is set): it cannot be stepped.")
        if not is_whole(n) or not n >= 1:  # type: ignore[operator]
            raise InputError(f"n = {n!r}: give the number of bars that happen, 1 or more.")

    def catch_up(self, virtual: int) -> None:
        """Everything up to ``virtual`` (UTC ns) happens, in order."""
        while self.next_due is not None and self.next_due <= virtual:
            if self.exchange.tape.in_progress:
                self._close()
            else:
                self._open()
        self.exchange.tell(virtual)

    @property
    def next_due(self) -> int | None:
        """When the market moves next, UTC ns; None at its end."""
        tape = self.exchange.tape
        if tape.done:
            return None
        return int((tape.finals if tape.in_progress else tape.starts)[tape.bar + 1])

    def world(self) -> None:
        """What the script does to the account, and halts that begin or end."""
        self.faults.world(self.exchange)
        now = {s for s in self.exchange.bars.symbols if self.exchange.halted(s)}
        for symbol in sorted(now ^ self._halted):
            data = {**(_HALT if symbol in now else _RESUME), "t": formats.timestamp(self.exchange.now)}
            self._events.append(Event("market_data", "s", symbol, data, self.exchange.bar))
        self._halted = now

    def _open(self) -> None:
        self.exchange.open_bar()
        self._collect()

    def _close(self) -> None:
        self.exchange.close_bar()
        self._collect()
        self._market()
        self.world()

    # --- what streams tell --------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        self._collect()
        out, self._events = self._events, []
        return out

    def settle(self) -> None:
        """A moment passes: accepted orders become new, cancelled ones are gone."""
        self.exchange.settle()

    def _collect(self) -> None:
        """Trade updates since the last time."""
        new = self.exchange.updates[self._told:]
        self._told += len(new)
        self._events += [Event("trade_updates", u.event, u.order.symbol, wire.trade_update(u), self.exchange.bar)
                         for u in new]

    def _market(self) -> None:
        """What the bar that has closed says to those who listen: its prints, itself, and the session's so far."""
        x = self.exchange
        for symbol in x.bars.symbols:
            if not x.bars.close[x.bar, x.tape.column[symbol]] > 0.0:
                continue
            for letter, make in (("t", self._trades), ("q", self._quotes), ("b", self._bar), ("d", self._day)):
                if self.wanted(letter, symbol):
                    self._events += [Event("market_data", letter, symbol, data, x.bar) for data in make(symbol)]

    def _prints_of(self, symbol: str) -> tuple[Prints, range]:
        if symbol not in self._prints:
            self._prints[symbol] = Prints(self.exchange, symbol)
        prints = self._prints[symbol]
        stop = prints.stop(self.exchange.bar)
        return prints, range(stop - prints.PER_BAR, stop)

    def _trades(self, symbol: str) -> list[Any]:
        prints, numbers = self._prints_of(symbol)
        return [json.loads(prints.trade(k)) for k in numbers]

    def _quotes(self, symbol: str) -> list[Any]:
        prints, numbers = self._prints_of(symbol)
        return [json.loads(prints.quote(k)) for k in numbers]

    def _bar(self, symbol: str) -> list[Any]:
        return [] if self.exchange.bars.interval == "1d" else [self.api.market.latest(symbol)]

    def _day(self, symbol: str) -> list[Any]:
        return [bar for bar in self.api.market.days(symbol)[:1] if bar is not None]

