# Everything is built under .build; `make clean` removes it. The recipes live in tools/, one file each.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help verify check test lint sanity unit integration molecule test-slurm bench lock clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name says; do printf '  make %-12s %s\n' "$$name" "$$says"; done

verify: ## Verify a real JupyterHub: an embedded one, or yours (JUPYTERHUB_URL and JUPYTERHUB_API_TOKEN)
	@tools/verify

check: ## In a minute: lint, the unit tests, and each module once through both doors
	@tools/check lint unit smoke

test: ## Every check below
	@tools/check integration --beside lint sanity unit molecule slurm

lint: ## Style, types, YAML, playbooks and roles, changelog, documentation, the installed artifact
	@tools/check lint

sanity: ## ansible-test sanity
	@tools/check sanity

unit: ## The tests that need no hub
	@tools/check unit

integration: ## The tests against a real hub, on the newest ansible-core and on the oldest
	@tools/check integration

molecule: ## The roles, each by its molecule scenario
	@tools/check molecule

test-slurm: ## The tests on a real Slurm, as root; installs Debian's packages of it where they are missing
	@tools/slurm

bench: ## What things cost, beside what others take for them
	@tools/bench

lock: ## Write requirements/*.txt anew (UPGRADE=1: with the newest versions)
	@tools/lock

clean: ## Stop the embedded hubs and remove .build
	@tools/clean
