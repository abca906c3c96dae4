// `odradek completion bash|zsh` and `odradek version`.
#include <fmt/format.h>

#include <memory>

#include "app/cli.h"

namespace odradek::app {

namespace {

/// Every command path with the words that may follow it: its subcommands and options.
void collect(const CLI::App& app, const std::string& path,
             std::vector<std::pair<std::string, std::string>>& out) {
  std::string words;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    words += sub->get_name() + " ";
    collect(*sub, path + (path.empty() ? "" : " ") + sub->get_name(), out);
  }
  for (const CLI::Option* option : app.get_options())
    for (const auto& name : option->get_lnames()) words += "--" + name + " ";
  out.emplace_back(path, words);
}

void print_completion(const CLI::App& program, const std::string& shell) {
  std::vector<std::pair<std::string, std::string>> words;
  collect(program, "", words);
  if (shell == "zsh") fmt::print("autoload -U +X bashcompinit && bashcompinit\n");
  fmt::print("_odradek() {{\n  local path=\"\" i word cur=\"${{COMP_WORDS[COMP_CWORD]}}\" words\n");
  fmt::print("  for ((i = 1; i < COMP_CWORD; i++)); do\n    word=${{COMP_WORDS[i]}}\n");
  fmt::print("    case \"$path|$word\" in\n");
  for (const auto& [path, _] : words) {
    if (path.empty()) continue;
    size_t space = path.rfind(' ');
    std::string parent = space == std::string::npos ? "" : path.substr(0, space);
    fmt::print("      '{}|{}') path='{}' ;;\n", parent,
               path.substr(space == std::string::npos ? 0 : space + 1), path);
  }
  fmt::print("    esac\n  done\n  case \"$path\" in\n");
  for (const auto& [path, list] : words) fmt::print("    '{}') words='{}' ;;\n", path, list);
  fmt::print(
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -f -- \"$cur\"))\n}}\ncomplete -F _odradek "
      "odradek\n");
}

}  // namespace

void add_completion(CLI::App& program, Cli&) {
  auto* command = program.add_subcommand(
      "completion", "Print a completion script: source <(odradek completion bash)");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([&program, shell] { print_completion(program, *shell); });
}

void add_version(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand("version", "Print the version");
  command->add_flag("--json", cli.json, "print JSON");
  command->callback([&cli] {
    if (cli.json) {
      print_json({{"version", ODRADEK_VERSION}, {"kafka", "4.3"}});
    } else {
      fmt::print("odradek {} (Apache Kafka 4.3 protocol)\n", ODRADEK_VERSION);
    }
  });
}

}  // namespace odradek::app
