# All files are built below .build, and `make clean` removes them. Each recipe is a file in tools/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help verify check test lint sanity unit integration molecule test-slurm matrix coverage mutation bench docs lock release audit sbom clean

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

matrix: ## Run the checks on each line of ansible-core, or on some (LINES="2.16 2.22"): documentation, syntax, doors, sanity
	@tools/matrix $(LINES)

coverage: ## Run the tests, and report which lines of plugins/ they run (COMMAND=...: another command than the tests)
	@tools/coverage $(COMMAND)

mutation: ## Check that the unit tests notice each change of the code that decides (FILES=...: of these modules only)
	@tools/mutation $(FILES)

bench: ## Measure the time of common tasks, and compare it with other tools
	@tools/bench

docs: ## Build the site of the documentation in .build/docs
	@tools/docs

lock: ## Write requirements/*.txt again (UPGRADE=1: with the newest versions)
	@tools/lock

release: ## Make the release VERSION=1.0.0 on a branch of its own, and publish nothing (RELEASING.md)
	@tools/release "$(VERSION)" $(if $(CHECKS),--checks "$(CHECKS)")

audit: ## Ask PyPI and the npm registry for known vulnerabilities of all locked packages
	@tools/audit

sbom: ## Write the list of what is installed into .build/sbom, in the format CycloneDX
	@tools/sbom

clean: ## Stop the embedded hubs and remove .build
	@tools/clean
