#include "io/linux/linux_io.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace odradek::io {
namespace {

using testing::ElementsAre;

/// Fails instead of hanging: stops the loops after 20 s.
struct Guard {
  explicit Guard(LinuxIo& io) {
    io.loop(0).timers().start(Millis(20'000), [&io] {
      ADD_FAILURE() << "timed out";
      io.stop();
    });
  }
};

TEST(LinuxIo, PostsArriveInOrderAndAcrossLoops) {
  LinuxIo io({.loops = 2});
  Guard guard(io);
  std::vector<int> got;
  for (int i = 0; i < 1000; i++) {
    io.loop(1).post([&, i] {
      io.loop(0).post([&, i] {
        got.push_back(i);
        if (i == 999) io.stop();
      });
    });
  }
  io.run();
  EXPECT_EQ(got.size(), 1000u);
  EXPECT_TRUE(std::ranges::is_sorted(got));
}

TEST(LinuxIo, TurnEndComesBeforeWhatIsPostedLater) {
  LinuxIo io({});
  Guard guard(io);
  std::string trace;
  Loop& loop = io.loop(0);
  loop.post([&] {
    MonoNs start = loop.clock().now();
    loop.at_turn_end([&, start] {
      trace += 'e';
      EXPECT_EQ(loop.clock().now(), start);
      loop.at_turn_end([&] { trace += 'f'; });
    });
    trace += 't';
    loop.timers().start(Millis(5), [&] { io.stop(); });
  });
  loop.post([&] { trace += 'u'; });
  io.run();
  EXPECT_EQ(trace, "tuef");
}

TEST(LinuxIo, TimersFireInOrderAndCancelledOnesNever) {
  LinuxIo io({});
  Guard guard(io);
  Loop& loop = io.loop(0);
  std::vector<int64_t> fired;
  TimerId doomed{};
  for (int64_t ms : {30, 5, 12}) {
    MonoNs start = loop.clock().precise();
    loop.timers().start(Millis(ms), [&, ms, start] {
      EXPECT_GE(loop.clock().now(), start + Millis(ms));
      fired.push_back(ms);
      if (ms == 12) loop.timers().cancel(doomed);
      if (ms == 30) io.stop();
    });
  }
  doomed = loop.timers().start(Millis(20), [&] { fired.push_back(-1); });
  loop.timers().cancel(TimerId::kNone);
  io.run();
  EXPECT_THAT(fired, ElementsAre(5, 12, 30));
}

TEST(LinuxIo, ATimerThatRestartsItselfDoesNotHoldTheLoop) {
  LinuxIo io({});
  Guard guard(io);
  Loop& loop = io.loop(0);
  int rounds = 0;
  std::function<void()> again = [&] {
    rounds++;
    loop.timers().start(Millis(0), [&] { again(); });
  };
  again();
  loop.timers().start(Millis(20), [&] { io.stop(); });
  io.run();
  EXPECT_GT(rounds, 2);
}

TEST(LinuxIo, AnIdleLoopDoesNotWakeUp) {
  LinuxIo io({.loops = 2});
  std::thread runner([&] { io.run(); });
  ::usleep(50'000);
  uint64_t turns = io.turns();
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  ::usleep(300'000);
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(io.turns(), turns);
  EXPECT_LE(after.ru_nvcsw - before.ru_nvcsw, 5) << "only this thread's own sleep";
  io.stop();
  runner.join();
}

TEST(LinuxIo, SignalsComeAsCallbacks) {
  LinuxIo io({});
  Guard guard(io);
  std::vector<int> got;
  io.on_signal([&](int signal) {
    got.push_back(signal);
    if (got.size() == 2) io.stop();
    if (got.size() == 1) ::raise(SIGINT);
  });
  io.loop(0).post([] { ::raise(SIGTERM); });
  io.run();
  EXPECT_THAT(got, ElementsAre(SIGTERM, SIGINT));
}

TEST(LinuxIo, RandomUuidsDiffer) {
  LinuxIo io({});
  std::set<Uuid> seen;
  for (int i = 0; i < 100; i++) {
    Uuid u = io.loop(0).random().uuid();
    EXPECT_NE(u.to_string()[0], '-');
    EXPECT_EQ(u.high >> 12 & 15, 4u);
    seen.insert(u);
  }
  EXPECT_EQ(seen.size(), 100u);
}

// ------------------------------------------------------------------------------------------------

Task<void> echo(std::unique_ptr<Socket> socket) {
  ByteBuffer buffer(100'000);
  for (;;) {
    auto n = co_await socket->read(buffer);
    if (!n || *n == 0) co_return;
    Chain chain;
    chain.add_view(ByteView(buffer).first(*n));
    if (!co_await socket->write(chain)) co_return;
  }
}

struct Received {
  ByteBuffer bytes;
  std::optional<Error> error;
};

Task<void> write_all(Socket& socket, const Chain& chain, Result<void>& result, bool& done) {
  result = co_await socket.write(chain);
  done = true;
}

/// Connects, sends `data` while reading, and ends when as much has come back.
Task<void> talk(Loop& loop, Endpoint to, ByteView data, Received& got, Callback ended) {
  {
    Completion<Result<std::unique_ptr<Socket>>> connected;
    loop.net().start_connect(to, connected);
    auto socket = co_await connected;
    if (!socket) {
      got.error = socket.error();
      ended();
      co_return;
    }
    Chain chain;
    chain.add_view(data);
    bool written = false;
    Result<void> result;
    spawn(write_all(**socket, chain, result, written));
    ByteBuffer buffer(64'000);
    while (got.bytes.size() < data.size()) {
      auto n = co_await (*socket)->read(buffer);
      if (!n) got.error = n.error();
      if (!n || *n == 0) break;
      got.bytes.insert(got.bytes.end(), buffer.begin(),
                       buffer.begin() + static_cast<std::ptrdiff_t>(*n));
    }
    (*socket)->close();
    while (!written) co_await loop.sleep(Millis(1));
  }
  co_await loop.sleep(Millis(20));  // the other side sees the end
  ended();
}

ByteBuffer pattern(size_t size) {
  ByteBuffer bytes(size);
  for (size_t i = 0; i < size; i++) bytes[i] = static_cast<uint8_t>(i * 31 >> 3);
  return bytes;
}

TEST(LinuxNet, SharedPortsSpreadAndLargeWritesWait) {
  LinuxIo io({.loops = 2});
  Guard guard(io);
  std::vector<std::unique_ptr<Listener>> listeners(2);
  std::atomic<int> accepted[2]{};
  auto accept = [&](int i) {
    return [&, i](std::unique_ptr<Socket> s) {
      accepted[i]++;
      EXPECT_EQ(s->peer().host, "127.0.0.1");
      spawn(echo(std::move(s)));
    };
  };
  listeners[0] = *io.loop(0).net().listen({"", 0}, true, accept(0));
  uint16_t port = listeners[0]->local().port;
  ByteBuffer data = pattern(6'000'000);
  constexpr int kClients = 24;
  std::vector<Received> got(kClients);
  int left = kClients;
  io.loop(1).post([&] {
    auto second = io.loop(1).net().listen({"", port}, true, accept(1));
    EXPECT_TRUE(second);
    listeners[1] = std::move(*second);
    io.loop(0).post([&] {
      for (int i = 0; i < kClients; i++) {
        ByteView part = ByteView(data).first(i == 0 ? data.size() : 1000u);
        spawn(talk(io.loop(0), {"127.0.0.1", port}, part, got[static_cast<size_t>(i)], [&] {
          if (--left == 0) io.stop();
        }));
      }
    });
  });
  io.run();
  EXPECT_TRUE(got[0].bytes == data);
  for (int i = 1; i < kClients; i++) EXPECT_EQ(got[static_cast<size_t>(i)].bytes.size(), 1000u);
  EXPECT_GT(accepted[0], 0);
  EXPECT_GT(accepted[1], 0);
}

TEST(LinuxNet, AnAcceptedSocketMovesToAnotherLoop) {
  LinuxIo io({.loops = 2});
  Guard guard(io);
  auto listener = io.loop(0).net().listen({"127.0.0.1", 0}, false, [&](auto s) {
    io.loop(1).post([moved = s->move_to(io.loop(1))]() mutable { spawn(echo(std::move(moved))); });
  });
  ASSERT_TRUE(listener);
  ByteBuffer data = pattern(1'000'000);
  Received got;
  spawn(talk(io.loop(0), (*listener)->local(), data, got, [&] { io.stop(); }));
  io.run();
  EXPECT_TRUE(got.bytes == data);
}

TEST(LinuxNet, PortsInUseAndNobodyThere) {
  LinuxIo io({});
  Guard guard(io);
  Net& net = io.loop(0).net();
  auto listener = net.listen({"localhost", 0}, false, [](auto) {});
  ASSERT_TRUE(listener);
  uint16_t port = (*listener)->local().port;
  EXPECT_EQ(net.listen({"127.0.0.1", port}, false, [](auto) {}).error().kind, Errc::kExists);
  EXPECT_EQ(net.listen({"127.0.0.1", port}, true, [](auto) {}).error().kind, Errc::kExists);
  EXPECT_EQ(net.listen({"no.such.host.invalid", 0}, false, [](auto) {}).error().kind,
            Errc::kNotFound);
  listener->reset();
  Received refused, unknown;
  int left = 2;
  auto ended = [&] {
    if (--left == 0) io.stop();
  };
  ByteBuffer data(1);
  spawn(talk(io.loop(0), {"localhost", port}, data, refused, ended));
  spawn(talk(io.loop(0), {"no.such.host.invalid", 1}, data, unknown, ended));
  io.run();
  EXPECT_EQ(refused.error->kind, Errc::kIo);
  EXPECT_THAT(refused.error->message, testing::HasSubstr("refused"));
  EXPECT_EQ(unknown.error->kind, Errc::kNotFound);
}

TEST(LinuxNet, OperationsOfAClosedSocketEnd) {
  LinuxIo io({});
  Guard guard(io);
  std::unique_ptr<Socket> served;
  ByteBuffer buffer(10);
  Completion<Result<size_t>> read;
  auto listener = io.loop(0).net().listen({"127.0.0.1", 0}, false, [&](auto s) {
    served = std::move(s);
    served->start_read(buffer, read);
  });
  ASSERT_TRUE(listener);
  ByteBuffer data(50'000'000);  // more than the buffers of loopback take
  Received got;
  spawn(talk(io.loop(0), (*listener)->local(), data, got, [&] { io.stop(); }));
  std::function<void()> close_once_read = [&] {
    if (read.done()) return served.reset();
    io.loop(0).timers().start(Millis(10), [&] { close_once_read(); });
  };
  close_once_read();
  io.run();
  EXPECT_TRUE(got.error) << "unread bytes at the close are a reset";
  EXPECT_EQ(got.error->kind, Errc::kClosed);
}

/// Answers every connection with the chain that `make` gives.
Task<void> serve(std::unique_ptr<Socket> socket, Chain chain, Result<void>& result) {
  result = co_await socket->write(chain);
  ByteBuffer buffer(10);
  if (result) (void)co_await socket->read(buffer);
}

class LinuxSendTest : public testing::Test {
 protected:
  LinuxSendTest() {
    std::string name = testing::TempDir() + "odradek-send-XXXXXX";
    dir_ = ::mkdtemp(name.data());
    file_ = *io_.disk().open(dir_ + "/f", OpenMode::kCreate);
    data_ = pattern(9'000'000);
    EXPECT_TRUE(file_->write(0, data_));
  }
  ~LinuxSendTest() override { EXPECT_TRUE(io_.disk().remove_tree(dir_)); }

  Piece piece(uint64_t position, uint64_t length) { return Piece{{}, file_, position, length}; }

  /// What a client receives when it is sent `chain`.
  Received send(Chain chain, size_t expected, Result<void>& result) {
    Guard guard(io_);
    Received got;
    auto listener = io_.loop(0).net().listen({"127.0.0.1", 0}, false, [&](auto s) {
      spawn(serve(std::move(s), std::move(chain), result));
    });
    spawn(receive(io_.loop(0), (*listener)->local(), expected, got, [&] { io_.stop(); }));
    io_.run();
    return got;
  }

  static Task<void> receive(Loop& loop, Endpoint to, size_t expected, Received& got,
                            Callback ended) {
    {
      Completion<Result<std::unique_ptr<Socket>>> connected;
      loop.net().start_connect(to, connected);
      auto socket = co_await connected;
      co_await loop.sleep(Millis(20));  // let it block
      ByteBuffer buffer(300'000);
      while (got.bytes.size() < expected) {
        auto n = co_await (*socket)->read(buffer);
        if (!n || *n == 0) break;
        got.bytes.insert(got.bytes.end(), buffer.begin(),
                         buffer.begin() + static_cast<std::ptrdiff_t>(*n));
      }
    }
    co_await loop.sleep(Millis(20));
    ended();
  }

  LinuxIo io_{{}};
  std::string dir_;
  std::shared_ptr<File> file_;
  ByteBuffer data_;
};

TEST_F(LinuxSendTest, MemoryAndFilePiecesArriveAsOneStream) {
  Chain chain;
  ByteBuffer expected;
  auto add = [&](Piece p) {
    uint64_t from = p.source ? p.position : 0;
    ByteView bytes = p.source ? ByteView(data_).subspan(from, p.length) : p.memory;
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    chain.add(std::move(p));
  };
  ByteView all(data_);
  add({.memory = all.first(100)});
  add(piece(17, 5));
  add(piece(1000, 8'000'000));
  add({.memory = all.subspan(5, 3'000'000)});
  for (uint64_t i = 0; i < 200; i++) {
    add({.memory = all.subspan(i, 20)});
    add(piece(i * 3000, 16'000));
  }
  add(piece(3, 20'000));
  add(piece(4, 20'000));
  add({.memory = all.subspan(9, 1)});
  Result<void> result = fail(Errc::kInvalid, "");
  Received got = send(std::move(chain), expected.size(), result);
  EXPECT_TRUE(result);
  EXPECT_TRUE(got.bytes == expected);
  EXPECT_EQ(io_.counters().sendfile_bytes, 8'040'000u);
}

TEST_F(LinuxSendTest, AFileThatWasCutEndsTheConnection) {
  ASSERT_TRUE(file_->truncate(5'000));
  Chain chain;
  chain.add(piece(0, 10'000));
  Result<void> result;
  Received got = send(std::move(chain), 10'000, result);
  EXPECT_FALSE(result);
  EXPECT_EQ(got.bytes.size(), 0u);
  EXPECT_EQ(io_.counters().short_files, 1u);
}

TEST_F(LinuxSendTest, ALongFileThatWasCutEndsTheConnection) {
  ASSERT_TRUE(file_->truncate(500'000));
  Chain chain;
  chain.add(piece(0, 8'000'000));
  Result<void> result;
  Received got = send(std::move(chain), 8'000'000, result);
  EXPECT_FALSE(result);
  EXPECT_EQ(got.bytes.size(), 500'000u);
  EXPECT_EQ(io_.counters().short_files, 1u);
}

TEST(LinuxNet, OutOfDescriptorsPausesInsteadOfSpinning) {
  LinuxIo io({});
  Guard guard(io);
  rlimit old{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  int served = 0;
  auto listener = io.loop(0).net().listen({"127.0.0.1", 0}, false, [&](auto s) {
    served++;
    spawn(echo(std::move(s)));
  });
  ASSERT_TRUE(listener);
  // The client's descriptor is the last one.
  int client = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  rlimit none{static_cast<rlim_t>(client) + 1, old.rlim_max};
  std::vector<int> filled;
  ::setrlimit(RLIMIT_NOFILE, &none);
  for (int fd; (fd = ::dup(0)) >= 0;) filled.push_back(fd);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons((*listener)->local().port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address);
  uint64_t turns = 0;
  io.loop(0).timers().start(Millis(250), [&] {
    EXPECT_EQ(served, 0);
    EXPECT_GE(io.counters().accept_pauses, 2u);
    EXPECT_LE(io.counters().accept_pauses, 4u);
    EXPECT_LE(io.turns() - turns, 10u);
    for (int fd : filled) ::close(fd);
    ::setrlimit(RLIMIT_NOFILE, &old);
  });
  io.loop(0).timers().start(Millis(400), [&] {
    EXPECT_EQ(served, 1);
    ::close(client);
  });
  io.loop(0).timers().start(Millis(450), [&] { io.stop(); });
  turns = io.turns();
  io.run();
  ::setrlimit(RLIMIT_NOFILE, &old);
}

// ------------------------------------------------------------------------------------------------

TEST_F(LinuxSendTest, SyncsAnswerOnTheirLoopAndShareRounds) {
  Guard guard(io_);
  auto queue = io_.make_sync_queue("sync-test", nullptr);
  int answered = 0;
  for (int i = 0; i < 50; i++) {
    queue->submit({.files = {file_, file_}}, io_.loop(0), [&](Result<Synced> r) {
      EXPECT_TRUE(r);
      if (++answered == 50) io_.stop();
    });
  }
  io_.run();
  EXPECT_EQ(answered, 50);
}

TEST(LinuxIo, BackgroundWorkRunsBesideAndAnswers) {
  LinuxIo io({});
  Guard guard(io);
  std::atomic<int> working{0};
  std::atomic<int> most{0};
  int done = 0;
  for (int i = 0; i < 6; i++) {
    io.background(
        [&] {
          most = std::max(most.load(), ++working);
          ::usleep(5'000);
          working--;
        },
        io.loop(0),
        [&] {
          if (++done == 6) io.stop();
        });
  }
  io.run();
  EXPECT_EQ(done, 6);
  EXPECT_EQ(most, 2);
}

TEST(LinuxIoTest, ManyWritesAtOnce) {
  const std::string directory = testing::TempDir() + "odradek-write-all";
  std::filesystem::create_directories(directory);
  LinuxIo io({});
  std::vector<std::shared_ptr<File>> files;
  for (int n = 0; n < 150; n++) {
    files.push_back(io.disk().open(directory + "/" + std::to_string(n), OpenMode::kCreate).value());
  }
  for (size_t round = 0; round < 50; round++) {
    std::vector<std::string> texts;
    for (size_t n = 0; n < files.size(); n++)
      texts.emplace_back(3000, static_cast<char>('a' + (n + round) % 26));
    std::vector<FileWrite> writes;
    // From one to all: those that are many are shared with a file thread.
    for (size_t n = 0; n < std::min(files.size(), 1 + 5 * round); n++) {
      writes.push_back(
          {.file = files[n].get(), .position = 3000 * round, .bytes = as_bytes(texts[n])});
    }
    io.write_all(writes);
    for (size_t n = 0; n < writes.size(); n++) {
      ASSERT_TRUE(writes[n].result);
      ByteBuffer there(3000);
      ASSERT_EQ(files[n]->read(3000 * round, there).value(), 3000U);
      ASSERT_EQ(as_text(there), texts[n]) << n;
    }
  }
  // Each has its own result.
  auto read_only = io.disk().open(directory + "/0", OpenMode::kRead).value();
  std::vector<FileWrite> writes(
      100, FileWrite{.file = files[1].get(), .position = 0, .bytes = ByteView()});
  const std::string text(4096, 'x');
  for (size_t n = 0; n < writes.size(); n++) {
    writes[n] = {
        .file = n == 70 ? read_only.get() : files[n].get(), .position = 0, .bytes = as_bytes(text)};
  }
  io.write_all(writes);
  for (size_t n = 0; n < writes.size(); n++) EXPECT_EQ(writes[n].result.has_value(), n != 70) << n;
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace odradek::io
