"""The pizza kitchen as a pipeline: an order becomes pizzas, the pizzas are baked in parallel, the box waits for all of
them.

python examples/pizza_pipeline.py
"""

from typing import Any

from patterns import gather, route, scatter, stage

Pizza = dict[str, Any]
Order = dict[str, Any]

ORDERS: list[Order] = [
    {"customer": "ann", "pizzas": ["margherita", "funghi"], "delivery": True},
    {"customer": "bob", "pizzas": ["hawaii"], "delivery": False},
    {"customer": "eve", "pizzas": ["diavola", "diavola", "marinara"], "delivery": True},
    {"customer": "joe", "pizzas": ["bianca"], "delivery": False},
]


def take_apart(order: Order) -> list[Pizza]:
    return [{"name": name, "customer": order["customer"], "delivery": order["delivery"]} for name in order["pizzas"]]


@stage(workers=2)
def dough(pizza: Pizza) -> Pizza:
    return {**pizza, "dough": "thin"}


@stage(workers=3, retries=2, timeout=30.0)
def bake(pizza: Pizza) -> Pizza:
    if pizza["name"] == "hawaii":
        raise ValueError("no pineapple in this kitchen")
    return {**pizza, "baked": True}


@stage
def box(pizzas: list[Pizza]) -> Order:
    return {**pizzas[0], "box": [pizza["name"] for pizza in pizzas]}


def way(order: Order) -> str:
    return "delivery" if order["delivery"] else "takeaway"


@stage
def deliver(order: Order) -> str:
    return f"{' and '.join(order['box'])} ride to {order['customer']}"


@stage
def hand_over(order: Order) -> str:
    return f"{' and '.join(order['box'])} for {order['customer']}, at the counter"


pipeline = scatter(take_apart) | dough | bake | gather(box) | route(way, {"delivery": deliver, "takeaway": hand_over})


def main() -> None:
    print(pipeline)
    run = pipeline.run(ORDERS, ordered=True, on_error="collect")
    for result in run:
        print(result)
    for error in run.errors:
        print(f"{error.stage} failed {error.attempts} times for the {error.item['name']}: {error.error}")
    print(f"{run.sent} orders, {run.completed} completed, {run.failed} failed, {sum(run.lost.values())} lost")


if __name__ == "__main__":
    main()
