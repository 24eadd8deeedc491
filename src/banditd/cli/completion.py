"""``banditd completion``: the script that teaches a shell the commands and their options."""

from __future__ import annotations

import click

PROGRAM = "banditd"
VARIABLE = "_BANDITD_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Examples:
      banditd completion bash > ~/.local/share/bash-completion/completions/banditd
      banditd completion zsh > "${fpath[1]}/_banditd"
      banditd completion fish > ~/.config/fish/completions/banditd.fish
      source <(banditd completion bash)     # for this shell only
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    if kind is None:  # click knows all three
        raise click.UsageError(f"there is no completion for {shell}")
    # The class's own source() runs bash to read its version; the script is the same for all that can use it.
    script = kind(root, {}, PROGRAM, VARIABLE)
    click.echo(kind.source_template % script.source_vars())
