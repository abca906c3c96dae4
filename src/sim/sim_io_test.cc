#include "sim/sim_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

using testing::ElementsAre;

TEST(SimIo, PostsOfOneThreadKeepTheirOrder) {
  Simulation sim(1);
  SimIo& node = sim.add_node("n", 2);
  std::vector<int> got;
  node.loop(0).post([&] {
    for (int i = 0; i < 20; i++) node.loop(1).post([&, i] { got.push_back(i); });
  });
  EXPECT_TRUE(sim.run_until([&] { return got.size() == 20; }, Millis(10)));
  EXPECT_TRUE(std::ranges::is_sorted(got));
}

TEST(SimIo, PostsOfDifferentLoopsMeetInAnyOrder) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 30; seed++) {
    Simulation sim(seed);
    SimIo& node = sim.add_node("n", 3);
    std::string got;
    node.loop(1).post([&] { node.loop(0).post([&] { got += 'a'; }); });
    node.loop(2).post([&] { node.loop(0).post([&] { got += 'b'; }); });
    sim.run_until([&] { return got.size() == 2; }, Millis(10));
    seen.insert(got);
  }
  EXPECT_THAT(seen, ElementsAre("ab", "ba"));
}

TEST(SimIo, TimersFireInTimeAndCancelledOnesNever) {
  Simulation sim(1);
  io::Loop& loop = sim.add_node("n", 1).loop(0);
  std::vector<int64_t> fired;
  MonoNs start = loop.clock().now();
  for (int64_t ms : {50, 10, 30}) {
    loop.timers().start(Millis(ms), [&, ms] {
      EXPECT_GE(loop.clock().now(), start + Millis(ms));
      fired.push_back(ms);
    });
  }
  io::TimerId id = loop.timers().start(Millis(20), [&] { fired.push_back(0); });
  loop.timers().cancel(id);
  sim.run_for(Millis(100));
  EXPECT_THAT(fired, ElementsAre(10, 30, 50));
}

TEST(SimIo, TurnEndComesAfterAllThatIsReady) {
  Simulation sim(1);
  io::Loop& loop = sim.add_node("n", 1).loop(0);
  std::string trace;
  loop.post([&] {
    loop.at_turn_end([&] {
      trace += 'e';
      loop.at_turn_end([&] { trace += 'f'; });
    });
    loop.post([&] { trace += 'p'; });
    trace += 't';
  });
  sim.run_for(Millis(10));
  EXPECT_EQ(trace, "tefp");
}

io::Task<void> echo(std::unique_ptr<io::Socket> socket) {
  ByteBuffer buffer(1000);
  for (;;) {
    auto n = co_await socket->read(buffer);
    if (!n || *n == 0) co_return;
    Chain chain;
    chain.add_view(ByteView(buffer).first(*n));
    if (!co_await socket->write(chain)) co_return;
  }
}

struct Client {
  ByteBuffer got;
  std::optional<Error> error;
  bool ended = false;
};

io::Task<void> write_all(io::Socket& socket, const Chain& chain, bool& done) {
  (void)co_await socket.write(chain);
  done = true;
}

io::Task<void> talk(io::Loop& loop, io::Endpoint to, size_t bytes, Client& client) {
  io::Completion<Result<std::unique_ptr<io::Socket>>> connected;
  loop.net().start_connect(to, connected);
  auto socket = co_await connected;
  if (!socket) {
    client.error = socket.error();
    client.ended = true;
    co_return;
  }
  ByteBuffer data(bytes);
  for (size_t i = 0; i < bytes; i++) data[i] = static_cast<uint8_t>(i * 7);
  Chain chain;
  chain.add_view(data);
  bool written = false;
  io::spawn(write_all(**socket, chain, written));
  ByteBuffer buffer(3000);
  while (client.got.size() < bytes) {
    auto n = co_await (*socket)->read(buffer);
    if (!n) {
      client.error = n.error();
      break;
    }
    if (*n == 0) break;
    client.got.insert(client.got.end(), buffer.begin(),
                      buffer.begin() + static_cast<std::ptrdiff_t>(*n));
  }
  while (!written) co_await loop.sleep(Millis(1));
  client.ended = true;
}

uint64_t echo_run(uint64_t seed, size_t bytes) {
  Simulation sim(seed);
  SimIo& server = sim.add_node("server", 2);
  SimIo& clients = sim.add_node("client", 1);
  std::vector<std::unique_ptr<io::Listener>> listeners;
  for (int i = 0; i < 2; i++) {
    auto l = server.loop(i).net().listen(
        {"", 9092}, true, [](std::unique_ptr<io::Socket> s) { io::spawn(echo(std::move(s))); });
    EXPECT_TRUE(l);
    listeners.push_back(std::move(*l));
  }
  EXPECT_FALSE(server.loop(0).net().listen({"", 9092}, false, [](auto) {}));
  Client client[3];
  for (auto& c : client) io::spawn(talk(clients.loop(0), {"server", 9092}, bytes, c));
  EXPECT_TRUE(sim.run_until([&] { return client[0].ended && client[1].ended && client[2].ended; },
                            Millis(60'000)));
  for (auto& c : client) {
    EXPECT_EQ(c.got.size(), bytes);
    for (size_t i = 0; i < c.got.size(); i++) EXPECT_EQ(c.got[i], static_cast<uint8_t>(i * 7));
  }
  return sim.trace_hash();
}

TEST(SimIo, BytesArriveInOrderHoweverTheyAreCut) {
  for (uint64_t seed = 0; seed < 20; seed++) echo_run(seed, 5'000);
}

TEST(SimIo, AWriteBeyondTheWindowWaits) { echo_run(3, 1'000'000); }

TEST(SimIo, TheSameSeedGivesTheSameRun) {
  EXPECT_EQ(echo_run(7, 20'000), echo_run(7, 20'000));
  EXPECT_NE(echo_run(7, 20'000), echo_run(8, 20'000));
}

TEST(SimIo, RefusedAndUnknown) {
  Simulation sim(1);
  SimIo& node = sim.add_node("n", 1);
  Client a, b;
  io::spawn(talk(node.loop(0), {"localhost", 1}, 1, a));
  io::spawn(talk(node.loop(0), {"elsewhere", 1}, 1, b));
  sim.run_for(Millis(100));
  ASSERT_TRUE(a.error && b.error);
  EXPECT_EQ(a.error->kind, Errc::kIo);
  EXPECT_EQ(b.error->kind, Errc::kNotFound);
}

TEST(SimIo, SyncsShareARoundAndCoverWhatWasWrittenBefore) {
  Simulation sim(1);
  SimIo& node = sim.add_node("n", 1);
  auto file = *node.disk().open("f", io::OpenMode::kCreate);
  ASSERT_TRUE(node.disk().sync_directory("/"));
  auto queue = node.make_sync_queue("q", nullptr);
  int done = 0;
  ASSERT_TRUE(file->write(0, as_bytes("abc")));
  for (int i = 0; i < 3; i++) {
    queue->submit({.files = {file}}, node.loop(0),
                  [&](Result<io::Synced> r) { done += r.has_value(); });
  }
  EXPECT_TRUE(sim.run_until([&] { return done == 3; }, Millis(100)));
  ASSERT_TRUE(file->write(3, as_bytes("def")));
  node.power_loss();
  node.restart();
  file = *node.disk().open("f", io::OpenMode::kRead);
  EXPECT_GE(*file->size(), 3u);
}

TEST(SimIo, BackgroundWorkAnswersOnItsLoop) {
  Simulation sim(1);
  SimIo& node = sim.add_node("n", 1);
  std::string trace;
  node.background([&] { trace += 'w'; }, node.loop(0), [&] { trace += 'd'; });
  EXPECT_EQ(trace, "");
  sim.run_for(Millis(20));
  EXPECT_EQ(trace, "wd");
}

TEST(SimIo, ADeadMachineIsSilentAndItsPeersNotice) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    Simulation sim(seed);
    SimIo& server = sim.add_node("server", 1);
    SimIo& other = sim.add_node("client", 1);
    bool late = false;
    auto listener = server.loop(0).net().listen({"", 1}, false, [&](auto socket) {
      server.loop(0).timers().start(Millis(50), [&, s = std::move(socket)] { late = true; });
    });
    ASSERT_TRUE(listener);
    Client client;
    io::spawn(talk(other.loop(0), {"server", 1}, 100, client));
    sim.run_for(Millis(20));
    EXPECT_FALSE(client.ended);
    server.kill();
    listener->reset();
    server.loop(0).post([&] { late = true; });
    sim.run_for(Millis(100));
    EXPECT_TRUE(client.ended);
    EXPECT_FALSE(late);
    server.restart();
    bool again = false;
    server.loop(0).post([&] { again = true; });
    sim.run_for(Millis(1));
    EXPECT_TRUE(again);
  }
}

TEST(SimIo, PowerCanFailInTheMiddleOfATurn) {
  Simulation sim(1);
  SimIo& node = sim.add_node("n", 1);
  std::string trace;
  auto file = *node.disk().open("f", io::OpenMode::kCreate);
  ASSERT_TRUE(node.disk().sync_directory("/"));
  node.loop(0).post([&] {
    for (uint64_t i = 0; i < 4; i++) {
      trace += file->write(i, as_bytes("x")) && file->sync() ? 's' : '-';
    }
    trace += node.disk().open("g", io::OpenMode::kCreate) ? 'g' : '-';
    node.loop(0).post([&] { trace += 'p'; });
  });
  node.loop(0).post([&] { trace += 'q'; });
  node.power_loss_after(5);
  sim.run_for(Millis(10));
  EXPECT_FALSE(node.up());
  EXPECT_EQ(trace, "ss---");
  node.restart();
  sim.run_for(Millis(10));
  EXPECT_EQ(trace, "ss---");
  EXPECT_EQ(*(*node.disk().open("f", io::OpenMode::kRead))->size(), 2u);
  EXPECT_FALSE(node.disk().exists("g"));
}

}  // namespace
}  // namespace odradek::sim
