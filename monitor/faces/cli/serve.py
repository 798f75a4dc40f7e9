"""`serve`: MCP for agents, and the page for people."""

from __future__ import annotations

import os
from pathlib import Path

import click

from monitor.config import ENV_PREFIX, ConfigError, load, with_token
from monitor.faces.cli.main import common
from monitor.faces.cli.options import output_dir_option, state_file_option


@click.command("serve")
@common
@click.option("--http", metavar="[HOST:]PORT", help="A daemon without stdio: page, API, and MCP at /mcp.")
@click.option(
    "--token",
    metavar="TOKEN",
    help="Opens page, API and MCP over HTTP; auto: made and printed once. Better in SESSION_MONITOR_WEB__TOKEN, "
    "which no other user of the machine sees.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The token stands in this file, where no other user of the machine sees it.",
)
@click.option(
    "--remote",
    metavar="URL",
    help="Answer over stdio with what the server at this address says, such as http://gateway:8888/mcp. Its token "
    "goes into SESSION_MONITOR_REMOTE_TOKEN or --token-file.",
)
@click.option("--no-ingest", is_flag=True, help="Only answer; another process reads the logs.")
@click.option("--no-web", is_flag=True, help="Serve no page beside stdio.")
@click.option("--text-only", is_flag=True, help="No structured content, for hosts that repeat it to the model.")
@click.option("--content-scope", multiple=True, metavar="PATTERN", help="Sessions whose content MCP clients may read.")
@click.option("--max-rotate", type=click.IntRange(0), help="How many rotated files are looked at.")
@click.option(
    "--refresh-interval",
    type=click.FloatRange(0.05, 3600),
    metavar="SECONDS",
    help="Look at the logs this often even when the file system reports no change (5).",
)
@output_dir_option
@state_file_option
def serve_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    http: str | None,
    token: str | None,
    token_file: Path | None,
    remote: str | None,
    no_ingest: bool,
    no_web: bool,
    text_only: bool,
    content_scope: tuple[str, ...],
    max_rotate: int | None,
    refresh_interval: float | None,
    output_dir: Path | None,
) -> None:
    """Answer agents over MCP (stdio), read the log in the background, serve the page.

    \b
    session-monitor serve --log-path /var/log/proxy/access.log
    session-monitor serve --http 8888
    session-monitor serve --http 0.0.0.0:8888 --token auto
    session-monitor serve --remote http://gateway.example.com:8888/mcp
    """
    if token_file is not None:
        token = _token_in(token_file, token)
    if remote is not None:
        _serve_remote(remote, token)
        return
    from monitor.faces import serving  # noqa: PLC0415 - the protocol takes half a second to import
    from monitor.runtime import Runtime  # noqa: PLC0415

    settings = load(config, data_dir=data_dir)
    if token is not None:
        settings = with_token(settings, token)
    if content_scope:
        settings.privacy.content_scope = list(content_scope)
    runtime = Runtime(
        settings, log_paths=[Path(path) for path in log_path], max_rotate=max_rotate, refresh_interval=refresh_interval
    )
    if http is None and "-" in log_path:
        raise ConfigError("--log-path -: standard input carries MCP here; use `session-monitor ingest --log-path -`")
    if not no_ingest:
        runtime.sources()  # a source that may not be read is said before anything is served
    if output_dir is not None:
        from monitor.faces.folder import SessionFolder  # noqa: PLC0415 - few ask for it

        SessionFolder(output_dir).follow(runtime)
    if http is None:
        if "-" in log_path:
            raise ConfigError("--log-path -: standard input belongs to MCP here; use `ingest --log-path -`, or --http")
        serving.serve_stdio(runtime, web=not no_web, ingest=not no_ingest, text_only=text_only)
        return
    host, port = _address(http)
    serving.serve_http(runtime, host, port, ingest=not no_ingest, text_only=text_only)


def _serve_remote(url: str, token: str | None) -> None:
    """Nothing is read or kept here, so no settings are looked up either."""
    options = click.get_current_context()
    for name in options.params:
        given = options.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        if given and name not in ("remote", "token", "token_file"):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option}: --remote asks a server elsewhere, which has its own; leave {option} out")
    from monitor.faces.mcp import remote  # noqa: PLC0415 - the protocol takes half a second to import

    remote.serve_remote(remote.address(url), token or os.environ.get(f"{ENV_PREFIX}REMOTE_TOKEN") or None)


def _token_in(file: Path, token: str | None) -> str:
    if token is not None:
        raise ConfigError("--token and --token-file: give one of them")
    try:
        found = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"--token-file {file}: {reason}") from None
    if not found:
        raise ConfigError(f"--token-file {file}: it is empty; put the token into it")
    return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--http {text}: use PORT or HOST:PORT, such as 8888 or 127.0.0.1:8888")
    return host.strip("[]") or "127.0.0.1", int(port)
