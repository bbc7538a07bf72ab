# Tasks of the project: `make check` is what has to pass before a change lands.
.PHONY: install demo test coverage lint types layers check

install:  ## everything that tests and checks need
	pip install -e ".[dev]"

demo:  ## the whole service in one terminal
	braggloop demo

test:
	pytest

coverage:  ## branch coverage, child processes included
	pytest --cov --cov-report=term:skip-covered

lint:
	ruff format --check .
	ruff check .

types:
	mypy

layers:
	lint-imports

check: lint types layers test
