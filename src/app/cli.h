// What the commands of the command line share: options, exit codes, printing as a table or as JSON.
//
// Exit codes: 0 done; 1 it failed (the line on standard error says why and what to try); 2 the
// arguments were wrong.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/admin_client.h"
#include "base/result.h"

namespace odradek::app {

struct Cli {
  std::string bootstrap = "localhost:9092";
  bool json = false;
  int exit_code = 0;
};

/// The whole text as a number, or nothing.
std::optional<int64_t> whole_number(std::string_view text);

/// Milliseconds since 1970.
int64_t now_ms();

/// Adds `--bootstrap-server` and `--json` to a client command.
void add_client_options(CLI::App& command, Cli& cli);

/// Prints `odradek: MESSAGE` and, if given, a second line with what to try next, to standard error;
/// sets exit code 1.
void report(Cli& cli, const std::string& message, const std::string& hint = "");

/// Connects, or reports why not with a hint.
Result<AdminClient> connect_or_report(Cli& cli);

/// Rows under a head, in columns as wide as needed.
void print_table(const std::vector<std::string>& head,
                 const std::vector<std::vector<std::string>>& rows);

/// One JSON value on a line of its own.
void print_json(const boost::json::value& value);

/// What to try when no broker answers.
inline constexpr const char* kNoBroker =
    "Is a broker running there? Start one with `odradek server`, or name it with "
    "--bootstrap-server.";

/// For people: "0.4 s", "12 s", "3 min", "2 h", "5 days"; "-" if negative.
std::string duration(int64_t ms);

/// `NAME (code): message` of a wire error.
std::string describe_error(int16_t code, std::optional<std::string_view> message);

// One function a command; each adds its options and its callback to the program.
void add_server(CLI::App& program, Cli& cli);
void add_format(CLI::App& program, Cli& cli);
void add_topic(CLI::App& program, Cli& cli);
void add_config(CLI::App& program, Cli& cli);
void add_produce(CLI::App& program, Cli& cli);
void add_consume(CLI::App& program, Cli& cli);
void add_offsets(CLI::App& program, Cli& cli);
void add_group(CLI::App& program, Cli& cli);
void add_txn(CLI::App& program, Cli& cli);
void add_explain(CLI::App& program, Cli& cli);
/// Of `explain`.
void add_explain_partition(CLI::App& parent, Cli& cli);
void add_log_dirs(CLI::App& program, Cli& cli);
void add_dump_log(CLI::App& program, Cli& cli);
void add_version(CLI::App& program, Cli& cli);
void add_completion(CLI::App& program, Cli& cli);

}  // namespace odradek::app
