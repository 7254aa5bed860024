"""Clients and readers of other libraries."""

import openai
import pandas as pd
import stripe
from sqlalchemy import create_engine

from resonate import Context, Resonate

resonate = Resonate(group="worker")
engine = create_engine("postgresql://localhost/orders")
model = openai.OpenAI()


@resonate.register
def order(ctx: Context, path: str):
    rows = pd.read_csv(path)  # RS004
    stripe.PaymentIntent.create(amount=1, currency="eur")  # RS004
    answer = model.chat.completions.create(model="m", messages=[])  # RS004
    with engine.connect() as connection:  # RS004
        connection.execute("select 1")
    yield ctx.run(look, rows, answer)


def look(ctx: Context, rows: pd.DataFrame, answer: object) -> None:
    stripe.PaymentIntent.list()
    print(rows, answer, pd.DataFrame())
