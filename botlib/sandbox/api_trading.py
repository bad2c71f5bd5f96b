"""Orders, positions and assets: /v2/orders, /v2/positions, /v2/assets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from botlib import alpaca_rules
from botlib.alpaca_rules import Violation
from botlib.sandbox import wire
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.messages import Query, Request, Response, answer, body_of, empty, invalid, number
from botlib.sandbox.orders import OPEN, Order, Refusal

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
MOST_ORDERS = 500


class Trading:
    """Handlers of one exchange.

    ``configurations``: the account's, of which orders need "fractional_trading".
    """

    def __init__(self, exchange: Exchange, configurations: dict[str, Any]) -> None:
        self.x, self.configurations = exchange, configurations
        self._by_id = {wire.asset_id(symbol): symbol for symbol in exchange.bars.symbols}

    def routes(self) -> dict[tuple[str, str], Callable[..., Response]]:
        """By method and path; a path that ends in "/" takes what follows it."""
        return {
            ("GET", "/v2/orders"): self.list_orders,
            ("POST", "/v2/orders"): self.submit,
            ("DELETE", "/v2/orders"): self.cancel_all,
            ("GET", "/v2/orders:by_client_order_id"): self.by_client_order_id,
            ("GET", "/v2/orders/"): self.get_order,
            ("PATCH", "/v2/orders/"): self.replace,
            ("DELETE", "/v2/orders/"): self.cancel,
            ("GET", "/v2/positions"): self.list_positions,
            ("DELETE", "/v2/positions"): self.close_all,
            ("GET", "/v2/positions/"): self.get_position,
            ("DELETE", "/v2/positions/"): self.close_position,
            ("GET", "/v2/assets"): self.list_assets,
            ("GET", "/v2/assets/"): self.get_asset,
        }

    # --- orders -------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Response:
        """POST /v2/orders: the order as accepted, with its legs."""
        body = body_of(request)
        if body.get("legs"):
            raise invalid("legs are for options orders (order_class mleg), which the sandbox does not serve",
                          "not-served")
        if isinstance(body.get("symbol"), str):
            body["symbol"] = self._by_id.get(body["symbol"], body["symbol"])
        parsed = alpaca_rules.parse(body)
        if isinstance(parsed, Violation):
            raise Refusal.of(parsed)
        if not self.configurations["fractional_trading"] and alpaca_rules.is_fractional(parsed):
            raise Refusal(403, 40310000, "account is not allowed to trade fractional shares", "fractional-disabled")
        return answer(wire.order(self.x.submit(parsed)))

    def get_order(self, request: Request, order_id: str) -> Response:
        """GET /v2/orders/{order_id}."""
        nested = Query(request.query).truth("nested")
        return answer(wire.order(self.x.get(_uuid(order_id)), nested))

    def by_client_order_id(self, request: Request) -> Response:
        """GET /v2/orders:by_client_order_id."""
        client_id = Query(request.query).text("client_order_id")
        if client_id is None:
            raise invalid("client_order_id is required", "missing-parameter", 40010001)
        return answer(wire.order(self.x.by_client_order_id(client_id), nested=True))

    def replace(self, request: Request, order_id: str) -> Response:
        """PATCH /v2/orders/{order_id}: the new order."""
        body = body_of(request)
        if body.get("advanced_instructions"):
            raise invalid("advanced_instructions are not served by the sandbox", "not-served")
        order_id = _uuid(order_id)
        parsed = alpaca_rules.parse_replace(body)
        if isinstance(parsed, Violation):
            raise Refusal.of(parsed)
        return answer(wire.order(self.x.replace(
            order_id, qty=parsed.qty, time_in_force=parsed.time_in_force, limit_price=parsed.limit_price,
            stop_price=parsed.stop_price, trail=parsed.trail, client_order_id=parsed.client_order_id)))

    def cancel(self, request: Request, order_id: str) -> Response:
        """DELETE /v2/orders/{order_id}: 204, the order ends later."""
        self.x.cancel(_uuid(order_id))
        return empty()

    def cancel_all(self, request: Request) -> Response:
        """DELETE /v2/orders: 207, a status an order."""
        return answer([{"id": o.id, "status": status} for o, status in self.x.cancel_all()], 207)

    def list_orders(self, request: Request) -> Response:
        """GET /v2/orders: filters, newest first unless asked otherwise, at most 500 a page."""
        query = Query(request.query)
        status = query.choice("status", "open", ("open", "closed", "all"))
        descending = query.choice("direction", "desc", ("asc", "desc")) == "desc"
        limit = query.integer("limit", 50, 1, MOST_ORDERS)
        nested = query.truth("nested")
        keep = self._filter(query, status)
        found: list[dict[str, Any]] = []
        for o in self._in_order(descending):
            if not keep(o):
                continue
            if nested and o.parent is not None and keep(o.parent) and any(leg is o for leg in o.parent.legs):
                continue  # it stands under its parent
            found.append(wire.order(o, nested))
            if len(found) == limit:
                break
        return answer(found)

    def _in_order(self, descending: bool) -> Iterator[Order]:
        orders = self.x.orders.values()
        return reversed(orders) if descending else iter(orders)

    def _filter(self, query: Query, status: str) -> Callable[[Order], bool]:
        after, until = query.moment("after"), query.moment("until")
        before_id, after_id = query.text("before_order_id"), query.text("after_order_id")
        if before_id and after_id:
            raise invalid("only one of before_order_id and after_order_id is accepted")
        if (before_id or after_id) and (after is not None or until is not None):
            raise invalid("before_order_id and after_order_id do not go with after and until")
        below = None if before_id is None else self.x.get(_uuid(before_id)).seq
        above = None if after_id is None else self.x.get(_uuid(after_id)).seq
        symbols = {self._by_id.get(word, word) for word in query.words("symbols")}
        side = {"buy": 1, "sell": -1, None: 0}[query.choice("side", "", ("", "buy", "sell")) or None]
        classes = query.words("asset_class")
        equities = not classes or "us_equity" in classes or "all" in classes

        def keep(o: Order) -> bool:
            # Held legs are not listed as open: Alpaca leaves them out.
            shown = status == "all" or (o.status in OPEN and o.status != "held" if status == "open"
                                        else o.status not in OPEN)
            return (shown and equities and (not side or o.side == side) and (not symbols or o.symbol in symbols)
                    and (after is None or o.submitted_at > after) and (until is None or o.submitted_at < until)
                    and (below is None or o.seq < below) and (above is None or o.seq > above))

        return keep

    # --- positions ----------------------------------------------------------------------------------------------------

    def _symbol(self, name: str) -> str:
        """A symbol, or that of an asset id."""
        return self._by_id.get(name.lower(), name)

    def list_positions(self, request: Request) -> Response:
        """GET /v2/positions, by symbol."""
        held = self.x.positions
        return answer([wire.position(self.x, held[symbol]) for symbol in sorted(held)])

    def get_position(self, request: Request, name: str) -> Response:
        """GET /v2/positions/{symbol_or_asset_id}."""
        symbol = self._symbol(name)
        if self.x.asset(symbol) is None:
            raise Refusal(404, 40410000, f"symbol not found: {name}", "unknown-symbol")
        if symbol not in self.x.positions:
            raise Refusal(404, 40410000, "position does not exist", "no-position")
        return answer(wire.position(self.x, self.x.positions[symbol]))

    def close_position(self, request: Request, name: str) -> Response:
        """DELETE /v2/positions/{symbol_or_asset_id}: the order that closes it, or ``qty`` or ``percentage`` of it."""
        query = Query(request.query)
        qty, percentage = query.text("qty"), query.text("percentage")
        symbol = self._symbol(name)
        if self.x.asset(symbol) is None:
            raise Refusal(404, 40410000, f"symbol not found: {name}", "unknown-symbol")
        if qty is not None and percentage is not None:
            raise invalid("only one of qty or percentage is accepted", code=40010001)
        if symbol not in self.x.positions:
            raise Refusal(404, 40410000, "position does not exist", "no-position")
        shares = None if qty is None else number(qty, "qty")
        part = None if percentage is None else number(percentage, "percentage")
        if shares is not None and shares <= 0.0:
            raise invalid("qty must be > 0", "quantity-positive", 40010001)
        if part is not None and not 0.0 < part <= 100.0:
            raise invalid("percentage must be between 0 and 100", "percentage-range", 40010001)
        return answer(wire.order(self.x.close_position(symbol, qty=shares, percentage=part)))

    def close_all(self, request: Request) -> Response:
        """DELETE /v2/positions: 207, an order or a refusal a position."""
        closed = self.x.close_all(Query(request.query).truth("cancel_orders"))
        made = []
        for symbol, result in closed:
            if isinstance(result, Refusal):
                made.append({"body": wire.error(result), "status": result.status, "symbol": symbol})
            else:
                made.append({"body": wire.order(result), "status": 200, "symbol": symbol})
        return answer(made, 207)

    # --- assets -------------------------------------------------------------------------------------------------------

    def list_assets(self, request: Request) -> Response:
        """GET /v2/assets: the symbols of the bars."""
        query = Query(request.query)
        wanted = {"status": "active", "exchange": wire.LISTED_ON}
        kind = query.words("asset_class")
        shown = all(query.text(name) in (None, value) for name, value in wanted.items())
        if not shown or query.words("attributes") or (kind and "us_equity" not in kind):
            return answer([])
        return answer([self._asset(symbol) for symbol in sorted(self.x.bars.symbols)])

    def get_asset(self, request: Request, name: str) -> Response:
        """GET /v2/assets/{symbol_or_asset_id}."""
        symbol = self._symbol(name)
        if self.x.asset(symbol) is None:
            raise Refusal(404, 40410000, f"asset not found for {name}", "unknown-symbol")
        return answer(self._asset(symbol))

    def _asset(self, symbol: str) -> dict[str, Any]:
        facts = self.x.asset(symbol)
        assert facts is not None
        return wire.asset(symbol, facts)


def _uuid(text: str) -> str:
    """An order id. What is none is answered as at Alpaca."""
    if not _UUID.fullmatch(text):
        raise invalid("order_id is missing", "malformed-order-id", 40010001)
    digits = text.replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
