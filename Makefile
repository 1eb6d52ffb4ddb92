# All files are built below .build, and `make clean` removes them. Each recipe is a file in tools/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help verify check test lint sanity unit integration molecule test-slurm bench lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name says; do printf '  make %-12s %s\n' "$$name" "$$says"; done

verify: ## Verify a real JupyterHub: an embedded one, or your own (set JUPYTERHUB_URL and JUPYTERHUB_API_TOKEN)
	@tools/verify

check: ## Run the checks that take a minute: lint, the unit tests, and each module once
	@tools/check lint unit smoke

test: ## Run all checks below
	@tools/check integration --beside lint sanity unit molecule slurm

lint: ## Check style, types, YAML, playbooks, roles, changelog, documentation, and the installed artifact
	@tools/check lint

sanity: ## Run ansible-test sanity
	@tools/check sanity

unit: ## Run the tests that need no hub
	@tools/check unit

integration: ## Run the tests against a real hub, with the newest ansible-core and with the oldest
	@tools/check integration

molecule: ## Run the molecule scenario of each role
	@tools/check molecule

test-slurm: ## Run the tests on a real Slurm, as root; install Debian's packages of Slurm if they are missing
	@tools/slurm

bench: ## Measure the time of common tasks, and compare it with other tools
	@tools/bench

lock: ## Write requirements/*.txt again (UPGRADE=1: with the newest versions)
	@tools/lock

clean: ## Stop the embedded hubs and remove .build
	@tools/clean
