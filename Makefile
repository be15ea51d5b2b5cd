# Everything that is installed goes into .tools/, pinned, once; everything that
# is built goes into build/. Both are ignored by git.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The pins. Those of Python and Java are in internal/local.
SAM_CLI       := 1.170.0
AWS_CDK       := 2.1148.1
GOLANGCI_LINT := 2.15.0
GOVULNCHECK   := 1.8.0
MOTO          := $(shell sed -n 's/^moto==//p' internal/local/requirements.txt)

TOOLS := $(CURDIR)/.tools
BIN   := $(TOOLS)/bin
CDK   := $(TOOLS)/cdk/node_modules/.bin/cdk --app build/cdk
STAMP := .tools/stamps
PIP   := $(TOOLS)/venv/bin/python -m pip --quiet --disable-pip-version-check

# One set of flags for all that is built, so that what takes long to compile (the
# SDK of EC2 takes a minute) is compiled once for this machine, and once for AWS.
export GOFLAGS := -trimpath
export CGO_ENABLED := 0

DOMAINS  := $(patsubst functions/%/main.go,%,$(wildcard functions/*/main.go))
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BASELINE ?= baseline.yaml
FUZZTIME ?= 20s

# Packages whose tests run a second time under the race detector.
RACE := $(addprefix ./,$(wildcard pkg/cloud pkg/engine pkg/ledger))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: need-demo tools build-local ## see Snapback at work on a local AWS: no account, no Docker
	@go run ./internal/demo

.PHONY: test
test: need-test tools test-tools build ## run every test
	go vet ./...
	go test -timeout 20m ./...
ifneq ($(RACE),)
	@if [ "$$(env -u CGO_ENABLED go env CGO_ENABLED)" = 1 ]; then \
		echo 'go test -race -timeout 20m $(RACE)'; \
		env -u CGO_ENABLED go test -race -timeout 20m $(RACE); \
	else \
		echo 'SKIPPED: the race detector needs a C compiler (apt-get install gcc)'; \
	fi
endif

.PHONY: verify
verify: need-verify lint-tools ## regenerate all that is generated, lint, and fail if the tree is dirty
	go generate ./...
	go run ./internal/docs
	go mod tidy -diff
	$(BIN)/golangci-lint fmt --diff
	$(BIN)/golangci-lint run
	@out=$$($(BIN)/govulncheck ./... 2>&1); case "$$? $$out" in \
	'0 '*) ;; \
	'1 govulncheck: fetching vulnerabilities: '*) \
		echo "SKIPPED: no check for known vulnerabilities, as their database can't be reached:"; echo "$$out" ;; \
	*) echo "$$out" >&2; exit 1 ;; \
	esac
	@dirty=$$(git status --porcelain) || exit 1; \
	if [ -n "$$dirty" ]; then \
		printf 'the tree differs from what is committed:\n%s\n' "$$dirty" >&2; \
		exit 1; \
	fi

.PHONY: build
build: build-local build-arm64 ## build the functions (arm64 for AWS, and for this machine) and build/snapback

.PHONY: build-local build-arm64
build-local: need-build
	@$(call functions,local,$$(go env GOHOSTARCH))
	@echo 'build build/snapback'; \
	go build -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o build/snapback ./cmd/snapback
build-arm64: need-build
	@$(call functions,arm64,arm64)
	@go run ./internal/pack build/arm64

# functions builds every function into build/$(1) for the architecture $(2).
functions = set -e; for domain in $(DOMAINS); do \
	out=build/$(1)/$$domain; \
	echo "build $$out"; mkdir -p $$out; \
	GOOS=linux GOARCH=$(2) go build -buildvcs=false \
		-tags lambda.norpc -ldflags '-s -w' -o $$out/bootstrap ./functions/$$domain; \
	cp $(BASELINE) $$out/baseline.yaml; \
done

# Deploying. What is synthesized is deployed, from build/cdk: the command line of
# CDK makes nothing anew. It asks before roles get more rights than they had.

.PHONY: synth
synth: need-synth build-arm64 ## make the CloudFormation templates from baseline.yaml in build/cdk (no AWS account needed)
	@go build -o build/infra ./infra
	@SNAPBACK_VERSION=$(VERSION) SNAPBACK_BASELINE=$(BASELINE) build/infra

.PHONY: diff deploy deploy-management deploy-guardrails
diff: synth deploy-tools ## show what a deployment would change in the hub account
	$(CDK) diff snapback-ledger snapback-hub
deploy: synth deploy-tools ## deploy the hub, and with it the members (credentials of the hub account)
	$(CDK) deploy snapback-ledger snapback-hub
deploy-management: synth deploy-tools ## deploy the member stack to the management account, which StackSets do not reach (its credentials)
	$(CDK) deploy 'snapback-member-*'
deploy-guardrails: synth deploy-tools ## deploy the service control policies of the baseline (credentials of the management account)
	$(CDK) deploy snapback-guardrails

.PHONY: destroy destroy-management destroy-guardrails
destroy: synth deploy-tools ## remove the hub and the members; the ledger stays (credentials of the hub account)
	$(CDK) destroy snapback-hub
destroy-management: synth deploy-tools ## remove the member stack from the management account (its credentials)
	$(CDK) destroy 'snapback-member-*'
destroy-guardrails: synth deploy-tools ## remove the service control policies (credentials of the management account)
	$(CDK) destroy snapback-guardrails

.PHONY: bench
bench: need-demo need-synth tools build-local ## measure: benchmarks, the way of an event end to end, and the templates
	go test -run '^$$' -bench . ./pkg/...
	go run ./internal/bench
	go test -count=1 -v -run 'Fit' ./infra | sed -n 's/^ *[a-z]*_test.go:[0-9]*: //p'

.PHONY: fuzz
fuzz: need-build ## fuzz every fuzz target for FUZZTIME (default 20s) each
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' $(wildcard cmd functions infra internal pkg) | sort); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$(dirname $$file) $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x ./$$(dirname $$file); \
		done; \
	done

.PHONY: control
control: need-build ## scaffold a control: make control ID=s3-bucket-tls DOMAIN=storage
	@if [ -z '$(ID)' ] || [ -z '$(DOMAIN)' ]; then \
		echo 'usage: make control ID=s3-bucket-tls DOMAIN=storage' >&2; exit 2; \
	fi
	@go run ./internal/scaffold -id '$(ID)' -domain '$(DOMAIN)'

.PHONY: clean
clean: ## remove what was built (the tools stay; rm -rf .tools removes them)
	rm -rf build

# What can't be installed here is checked before anything starts.

.PHONY: need-build need-demo need-test need-verify need-synth
need-build:
	@internal/local/prerequisites.sh go
need-demo:
	@internal/local/prerequisites.sh linux go python3
need-test:
	@internal/local/prerequisites.sh linux go python3 java mvn node
need-synth:
	@internal/local/prerequisites.sh go node
need-verify:
	@internal/local/prerequisites.sh go git
tools $(STAMP)/moto-$(MOTO) $(STAMP)/rie-$(SAM_CLI): | need-demo
test-tools $(STAMP)/java: | need-test
lint-tools $(STAMP)/golangci-lint-$(GOLANGCI_LINT) $(STAMP)/govulncheck-$(GOVULNCHECK): | need-verify
deploy-tools $(STAMP)/cdk-$(AWS_CDK): | need-synth
build-local build-arm64: | need-build

# The tools. A stamp named after a version says that this version is installed;
# installing removes the stamps of all others.

.PHONY: tools
tools: $(STAMP)/moto-$(MOTO) $(STAMP)/rie-$(SAM_CLI) ## install what the demo needs: moto and Lambda's runtime emulator

.PHONY: test-tools
test-tools: $(STAMP)/java ## install what only tests need: DynamoDB Local and EventBridge's rule engine

.PHONY: deploy-tools
deploy-tools: $(STAMP)/cdk-$(AWS_CDK) ## install the command line of CDK, which deploys

.PHONY: lint-tools
lint-tools: $(STAMP)/golangci-lint-$(GOLANGCI_LINT) $(STAMP)/govulncheck-$(GOVULNCHECK) ## install golangci-lint and govulncheck

$(STAMP)/moto-$(MOTO): internal/local/requirements.txt
	@echo 'installing moto $(MOTO) into .tools/venv (about a minute, once)'
	@mkdir -p $(STAMP) && rm -rf $(STAMP)/moto-* .tools/venv
	@python3 -m venv .tools/venv
	@$(PIP) install --no-deps --requirement internal/local/requirements.txt
	@touch $@

# The emulator comes inside the Python package of the SAM command line, for
# both processors; nothing else of the package is installed.
$(STAMP)/rie-$(SAM_CLI): $(STAMP)/moto-$(MOTO)
	@echo 'installing the Lambda Runtime Interface Emulator of aws-sam-cli $(SAM_CLI) into .tools'
	@mkdir -p $(STAMP) && rm -rf $(STAMP)/rie-* .tools/sam
	@$(PIP) download --no-deps --dest .tools/sam aws-sam-cli==$(SAM_CLI)
	@case $$(uname -m) in x86_64) arch=x86_64 ;; *) arch=arm64 ;; esac; \
	python3 -m zipfile --extract .tools/sam/aws_sam_cli-*.whl .tools/sam/ && \
	mv -f .tools/sam/samcli/local/rapid/aws-lambda-rie-$$arch .tools/aws-lambda-rie
	@chmod +x .tools/aws-lambda-rie && rm -rf .tools/sam
	@touch $@

$(STAMP)/java: internal/local/java/pom.xml
	@echo 'installing DynamoDB Local and event-ruler into .tools/java'
	@mkdir -p $(STAMP) && rm -rf $@ .tools/java
	@mvn --quiet --batch-mode --file internal/local/java/pom.xml \
		org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
		-DoutputDirectory=$(TOOLS)/java
	@touch $@

$(STAMP)/cdk-$(AWS_CDK):
	@echo 'installing the command line of CDK $(AWS_CDK) into .tools/cdk'
	@mkdir -p $(STAMP) && rm -rf $(STAMP)/cdk-* .tools/cdk
	@npm install --prefix .tools/cdk --no-audit --no-fund --loglevel=error aws-cdk@$(AWS_CDK)
	@touch $@

$(STAMP)/golangci-lint-$(GOLANGCI_LINT):
	@echo 'installing golangci-lint $(GOLANGCI_LINT) into .tools/bin (some minutes, once)'
	@mkdir -p $(STAMP) && rm -f $(STAMP)/golangci-lint-*
	@GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT)
	@touch $@

$(STAMP)/govulncheck-$(GOVULNCHECK):
	@echo 'installing govulncheck $(GOVULNCHECK) into .tools/bin'
	@mkdir -p $(STAMP) && rm -f $(STAMP)/govulncheck-*
	@GOBIN=$(BIN) go install golang.org/x/vuln/cmd/govulncheck@v$(GOVULNCHECK)
	@touch $@
