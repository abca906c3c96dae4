#include "machines/group/awaited.h"

#include "machines/group/draft.h"
#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

Join join(std::string member) {
  return {.group = "g",
          .member = std::move(member),
          .client_id = "c",
          .client_host = "/h",
          .session_timeout_ms = 10'000,
          .rebalance_timeout_ms = 60'000,
          .protocol_type = "consumer",
          .protocols = {{"range", "x"}}};
}

/// "join a; heartbeat b".
Lines told(const TestGroups& groups) {
  Lines out;
  for (const Awaited& a : awaited("g", *groups.state().find("g")))
    out.push_back(fmt::format("{} {}", name(a.what), a.member));
  return out;
}

TEST(Awaited, FollowsTheRebalance) {
  TestGroups groups({.initial_rebalance_delay_ms = 0});
  groups.send(join(""));
  groups.advance(0);
  const std::string a = groups.answer_to<JoinAnswer>(groups.token()).member;
  // It leads, and has yet to assign.
  EXPECT_EQ(told(groups), Lines{"sync " + a});
  groups.send(Sync{.group = "g", .generation = 1, .member = a, .assignments = {{a, "all"}}});
  EXPECT_EQ(told(groups), Lines{"heartbeat " + a});
  EXPECT_EQ(awaited("g", *groups.state().find("g"))[0],
            (Awaited{.what = Awaited::For::kHeartbeat,
                     .member = a,
                     .client_id = "c",
                     .client_host = "/h",
                     .session_ms = 10'000,
                     .timers = {session_timer("g", a)}}));
  // Another one comes and waits for the first.
  groups.send(join(""));
  EXPECT_EQ(told(groups), Lines{"join " + a});
  EXPECT_EQ(awaited("g", *groups.state().find("g"))[0].timers,
            (std::vector{session_timer("g", a), join_timer("g")}));
}

TEST(Awaited, AnIdThatWasHandedOut) {
  TestGroups groups({.initial_rebalance_delay_ms = 0});
  Join asks = join("");
  asks.id_required = true;
  const auto answer = groups.send<JoinAnswer>(asks);
  EXPECT_EQ(answer.error, ErrorCode::kMemberIdRequired);
  EXPECT_EQ(told(groups), Lines{"join " + answer.member});
}

}  // namespace
}  // namespace odradek::machines::group
