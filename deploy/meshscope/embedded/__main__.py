"""`python -m meshscope.embedded`: the whole stack in the foreground, as `meshscope up`."""

from meshscope.embedded.commands import up

if __name__ == "__main__":
    up()
