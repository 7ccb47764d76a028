"""Accounts and transfers."""

import sqlite3

db = sqlite3.connect("bank.db")


def balance(owner):
    row = db.execute(f"select balance from accounts where owner = '{owner}'").fetchone()
    return row[0]


def transfer(source, target, amount):
    db.execute("update accounts set balance = balance - ? where owner = ?", (amount, source))
    db.execute("update accounts set balance = balance + ? where owner = ?", (amount, target))
