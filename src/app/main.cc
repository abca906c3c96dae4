// The program: `odradek COMMAND`. With no arguments it explains itself.
#include <fmt/format.h>

#include <csignal>

#include "app/cli.h"

int main(int argc, char** argv) {
  using namespace odradek::app;
  std::signal(SIGPIPE, SIG_IGN);
  Cli cli;
  CLI::App program{
      "Odradek: Apache Kafka's system in one binary.\n\n"
      "  odradek server                              serve localhost:9092 from ./odradek-data\n"
      "  odradek topic create greetings              in another terminal\n"
      "  echo hello | odradek produce greetings\n"
      "  odradek consume greetings --from beginning --exit\n",
      "odradek"};
  program.require_subcommand(0, 1);
  add_server(program, cli);
  add_format(program, cli);
  add_topic(program, cli);
  add_config(program, cli);
  add_produce(program, cli);
  add_consume(program, cli);
  add_offsets(program, cli);
  add_group(program, cli);
  add_txn(program, cli);
  add_explain(program, cli);
  add_log_dirs(program, cli);
  add_dump_log(program, cli);
  add_version(program, cli);
  add_completion(program, cli);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return program.exit(e) == 0 ? 0 : 2;
  }
  if (program.get_subcommands().empty()) fmt::print("{}", program.help());
  return cli.exit_code;
}
