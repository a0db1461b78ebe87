//! `lodemark completion`: scripts that let shells complete commands and flags.
//!
//! They are made of the tables that the arguments are read by, so they cannot be out of date.

use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;

use super::{EXIT_USAGE, SUBCOMMANDS, Subcommand};
use crate::command::{Given, Operands, UsageError, Verb, print};
use crate::config;

/// How it is called.
pub(super) const USAGE: &str = "\
Usage:

  lodemark completion bash|zsh|fish
    Print a script that lets the shell complete commands, flags and files:

      bash    source <(lodemark completion bash)
      zsh     source <(lodemark completion zsh)
      fish    lodemark completion fish | source
";

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// What may be said with it.
pub(super) const VERB: Verb = Verb { name: "", values: &[], switches: &[], operands: Operands::Words(&SHELLS) };

/// Runs `lodemark completion` with the arguments that follow.
pub(super) fn main(arguments: &mut dyn Iterator<Item = OsString>) -> ExitCode {
    match script(arguments) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error}\n{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn script(arguments: &mut dyn Iterator<Item = OsString>) -> Result<String, UsageError> {
    let mut given = Given::read(arguments, &VERB)?;
    if given.wants_help {
        return Ok(USAGE.to_owned());
    }
    let shell = given.operand("completion expects the name of one shell")?;
    match shell.as_str() {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        _ => Err(UsageError(format!("there is no completion for {shell:?}: there are {}", SHELLS.join(", ")))),
    }
}

/// The words that may follow: flags, and what may stand beside them.
fn words_of(verb: &Verb) -> Vec<String> {
    let values = verb.values.iter().map(|flag| format!("--{flag}="));
    let switches = verb.switches.iter().chain(&["help"]).map(|flag| format!("--{flag}"));
    let operands: &[&str] = match verb.operands {
        Operands::Words(words) => words,
        Operands::None | Operands::Files => &[],
    };
    values.chain(switches).chain(operands.iter().map(|word| (*word).to_owned())).collect()
}

fn server_words() -> Vec<String> {
    let flags =
        config::flag_names().map(|(name, takes_value)| format!("--{name}{}", if takes_value { "=" } else { "" }));
    flags.chain(SUBCOMMANDS.iter().map(|command| command.name.to_owned())).collect()
}

/// The cases of one command, for the words that were written already (`command` or `command verb`).
fn cases(command: &Subcommand) -> Vec<(String, Vec<String>, Operands)> {
    let verbs = command.verbs.iter().filter(|verb| !verb.name.is_empty());
    let mut cases: Vec<_> =
        verbs.clone().map(|verb| (format!("{} {}", command.name, verb.name), words_of(verb), verb.operands)).collect();
    let own = match command.verbs {
        [verb] if verb.name.is_empty() => (command.name.to_owned(), words_of(verb), verb.operands),
        _ => {
            let names = verbs.map(|verb| verb.name.to_owned()).chain(["--help".to_owned()]).collect();
            (command.name.to_owned(), names, Operands::None)
        }
    };
    cases.push(own);
    cases
}

/// A `case` over the words before the one that is completed: sets `offered`, by `offer`, and whether files are, too.
fn case(offer: impl Fn(&[String]) -> String) -> String {
    let mut text = "  case \"$said\" in\n".to_owned();
    for (said, words, operands) in SUBCOMMANDS.iter().flat_map(cases) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    '{said}'|'{said} '*)\n      {}", offer(&words));
        if operands == Operands::Files {
            text.push_str("      files=yes\n");
        }
        text.push_str("      ;;\n");
    }
    let _ = write!(text, "    *)\n      {}\n      ;;\n  esac", offer(&server_words()));
    text
}

/// `compgen -f` stands for files, which are also what flags with `=` are completed with.
fn bash() -> String {
    let case = case(|words| format!("offered='{}'", words.join(" ")));
    format!(
        "\
_lodemark() {{
  local word=${{COMP_LINE:0:COMP_POINT}} said offered files=no
  local -a before
  read -ra before <<<\"$word\"
  [[ $word == *[[:space:]] ]] && before+=('')
  word=${{before[-1]}}
  said=\"${{before[*]:1:${{#before[@]}}-2}}\"
  COMPREPLY=()
  if [[ $word == --*=* ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- \"${{word#*=}}\")
    return
  fi
{case}
  mapfile -t COMPREPLY < <(compgen -W \"$offered\" -- \"$word\")
  [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2>/dev/null
  if [[ $files == yes && $word != -* ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")
  fi
}}
complete -F _lodemark lodemark
"
    )
}

fn zsh() -> String {
    let case = case(|words| format!("offered=({})", words.join(" ")));
    format!(
        "\
#compdef lodemark
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
_lodemark() {{
  local said=\"${{(j: :)words[2,CURRENT-1]}}\" files=no
  local -a offered
  if [[ $PREFIX == --*=* ]]; then
    compset -P '*='
    _files
    return
  fi
{case}
  compadd -S '' -- ${{(M)offered:#*=}}
  compadd -- ${{offered:#*=}}
  if [[ $files == yes && $PREFIX != -* ]]; then
    _files
  fi
}}
compdef _lodemark lodemark
"
    )
}

fn fish() -> String {
    let mut text = "complete -c lodemark -f\n".to_owned();
    for command in &SUBCOMMANDS {
        let (name, about) = (command.name, command.about);
        let _ = writeln!(text, "complete -c lodemark -n __fish_use_subcommand -a {name} -d '{about}'");
    }
    for (name, takes_value) in config::flag_names() {
        let value = if takes_value { " -r -F" } else { "" };
        let _ = writeln!(text, "complete -c lodemark -n __fish_use_subcommand -l {name}{value}");
    }
    for command in &SUBCOMMANDS {
        for verb in command.verbs {
            let mut seen = format!("__fish_seen_subcommand_from {}", command.name);
            if !verb.name.is_empty() {
                let _ = writeln!(text, "complete -c lodemark -n '{seen}' -a {}", verb.name);
                seen.push_str(&format!("; and __fish_seen_subcommand_from {}", verb.name));
            }
            for flag in verb.values {
                let _ = writeln!(text, "complete -c lodemark -n '{seen}' -l {flag} -r -F");
            }
            for flag in verb.switches.iter().chain(&["help"]) {
                let _ = writeln!(text, "complete -c lodemark -n '{seen}' -l {flag}");
            }
            match verb.operands {
                Operands::None => {}
                Operands::Files => {
                    let _ = writeln!(text, "complete -c lodemark -n '{seen}' -F");
                }
                Operands::Words(words) => {
                    let _ = writeln!(text, "complete -c lodemark -n '{seen}' -a '{}'", words.join(" "));
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every flag and command stands in every script.
    #[test]
    fn nothing_is_left_out() {
        for text in [bash(), zsh(), fish()] {
            for (name, _) in config::flag_names() {
                assert!(text.contains(&format!("--{name}")) || text.contains(&format!("-l {name}")), "{name}");
            }
            for command in &SUBCOMMANDS {
                for verb in command.verbs {
                    for flag in verb.values.iter().chain(verb.switches) {
                        assert!(text.contains(&format!("--{flag}")) || text.contains(&format!("-l {flag}")), "{flag}");
                    }
                }
            }
        }
    }
}
