# make chat | web | serve | test | check    each sets up what it needs in .venv
PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
RUN = $(VENV)/bin/python
# Writes the byte code of what talking needs, even in a container that forbids it, where every start would take half as long again.
# Should that fail, the chat itself says why.
WARM_UP = env -u PYTHONDONTWRITEBYTECODE $(RUN) -c "import chitchat.frontends.terminal.prompt as _; import chitchat; chitchat.load_chatbot().reply('你好')"
export OMP_NUM_THREADS ?= 1

.PHONY: chat web serve test check clean

chat: $(VENV)/chat.installed
	@$(RUN) interact.py $(ARGS)

web: $(VENV)/web.installed
	@$(RUN) app.py $(ARGS)

serve: $(VENV)/serve.installed
	@$(RUN) -m chitchat serve $(ARGS)

test: $(VENV)/dev.installed
	$(RUN) -m pytest $(ARGS)

check: $(VENV)/dev.installed
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m deptry .

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "需要 Python 3.11 或更新：make PYTHON=python3.11 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/chat.installed: requirements/chat.txt pyproject.toml | $(VENV)/bin/python
	@echo "正在安装聊天所需的包（只有第一次）……" >&2
	@$(PIP) --no-compile -e . </dev/null && { $(WARM_UP) 2>/dev/null || true; } && touch $@

$(VENV)/web.installed: requirements/web.txt $(VENV)/chat.installed
	@echo "正在安装网页所需的包（只有第一次）……" >&2
	@$(PIP) -e '.[web]' </dev/null && touch $@

$(VENV)/serve.installed: requirements/serve.txt $(VENV)/chat.installed
	@echo "正在安装接口所需的包（只有第一次）……" >&2
	@$(PIP) -e '.[serve]' </dev/null && touch $@

$(VENV)/dev.installed: requirements/prepare.txt requirements/train.txt requirements/scale.txt requirements/dev.txt $(VENV)/web.installed $(VENV)/serve.installed
	@echo "正在安装训练与测试所需的包（只有第一次，约两分钟）……" >&2
	@$(PIP) -e '.[web,serve,train,scale,dev]' </dev/null && touch $@
