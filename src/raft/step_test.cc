// Runs the scripts of testdata/*.txt: a command per line, then what the step gives out, compared to
// what the script says. `UPDATE=1 raft_test` writes what it got into them.
#include "raft/step.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace odradek::raft {
namespace {

const Uuid kDir{7, 7};

std::string text(const Ready& r) {
  std::string out;
  if (r.persist) {
    out += fmt::format("  persist epoch={} leader={} voted={}{}\n", r.persist->epoch.value,
                       r.persist->leader.value, r.persist->voted.value,
                       r.persist->voted_directory == kDir ? " in its directory" : "");
  }
  if (r.append) {
    out += fmt::format("  append at={} epoch={} LeaderChange leader={}", r.append->base.value,
                       r.append->epoch.value, r.append->leader.value);
    if (r.append->voter_set) {
      const VoterSet& set = *r.append->voter_set;
      out += fmt::format(" KRaftVersion {} KRaftVoters", set.kraft_version);
      for (const Voter& v : set.voters)
        for (const VoterEndpoint& e : v.endpoints)
          out += fmt::format(" {}={}://{}:{}", v.id.value, e.name, e.host, e.port);
    }
    out += '\n';
  }
  if (r.committed) out += fmt::format("  committed {}\n", r.committed->value);
  if (r.role) {
    out += fmt::format("  role {} epoch={} leader={}\n", name(r.role->role), r.role->epoch.value,
                       r.role->leader.value);
  }
  return out;
}

// One script's step and its words.
class Script {
 public:
  std::string run(const std::string& line) {
    std::istringstream in(line);
    std::string word;
    in >> word;
    std::map<std::string, int> args;
    for (std::string arg; in >> arg;) {
      const size_t eq = arg.find('=');
      args[arg.substr(0, eq)] = eq == std::string::npos ? 1 : std::atoi(arg.substr(eq + 1).c_str());
    }
    if (word == "start") return start(args);
    if (!step_) return "  no step\n";
    if (word == "take") {
      std::optional<Ready> ready = step_->take();
      return ready ? text(*ready) : "  nothing\n";
    }
    if (word == "persisted") step_->persisted();
    if (word == "appended") step_->appended(Offset(args["end"]));
    if (word == "synced") step_->synced(Offset(args["end"]));
    if (word == "resign") step_->resign();
    return fmt::format("  {} epoch={} end={} hw={}{}\n", name(step_->role()), step_->epoch().value,
                       step_->end().value, step_->high_watermark().value,
                       step_->can_propose() ? " may propose" : "");
  }

 private:
  std::string start(std::map<std::string, int>& args) {
    StepStart s;
    s.node = BrokerId(1);
    s.directory = kDir;
    if (args.contains("epoch")) {
      const auto or_none = [&](const char* key) {
        return args.contains(key) ? BrokerId(args[key]) : kNoBroker;
      };
      s.state = ElectionState{LeaderEpoch(args["epoch"]), or_none("leader"), or_none("voted"), {}};
    }
    s.voters.kraft_version = static_cast<int16_t>(args["kraft"]);
    const int voters = args.contains("voters") ? args["voters"] : 1;
    for (int i = 1; i <= voters; i++)
      s.voters.voters.push_back({BrokerId(args.contains("other") ? i + 1 : i),
                                 args.contains("moved") ? Uuid{8, 8} : kDir,
                                 {{"CONTROLLER", "h", 9}}});
    s.self = s.voters.voters[0];
    if (args.contains("port")) s.self.endpoints[0].port = static_cast<uint16_t>(args["port"]);
    s.voters_in_log = args.contains("voters_in_log");
    s.log_end = Offset(args["end"]);
    s.last_epoch = LeaderEpoch(args["last_epoch"]);
    Result<Step> r = Step::start(s);
    step_.reset();
    if (!r) return "  error: " + r.error().message + "\n";
    step_.emplace(std::move(*r));
    return "";
  }

  std::optional<Step> step_;
};

// Commands, each followed by its output, which is indented; blank lines and # lines stay.
TEST(Step, Scripts) {
  int scripts = 0;
  for (const auto& entry : std::filesystem::directory_iterator(RAFT_TESTDATA)) {
    if (entry.path().extension() != ".txt") continue;
    scripts++;
    std::ifstream in(entry.path());
    Script script;
    std::string want;
    std::string got;
    for (std::string line; std::getline(in, line);) {
      want += line + "\n";
      if (line.starts_with("  ")) continue;
      got += line + "\n";
      if (!line.empty() && line[0] != '#') got += script.run(line);
    }
    if (std::getenv("UPDATE") != nullptr) {
      std::ofstream(entry.path()) << got;
    } else {
      EXPECT_EQ(got, want) << entry.path();
    }
  }
  EXPECT_GE(scripts, 3);
}

}  // namespace
}  // namespace odradek::raft
