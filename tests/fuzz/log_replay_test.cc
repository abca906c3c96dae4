// The log recovery target on a real folder and mutations of it.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/targets.h"
#include "log/testing/batches.h"
#include "sim/rng.h"

namespace odradek {
namespace {

/// The target's input for the files of a small log that was stopped or killed.
ByteBuffer seed_input(bool clean) {
  sim::MemoryDisk disk;
  log::LogConfig config{.segment_bytes = 500, .index_interval_bytes = 100};
  auto options = log::testing::options_for(disk, config);
  options.topic_id = Uuid{1, 2};
  auto log = log::testing::open_or_die(options);
  for (int n = 0; n < 12; n++) {
    log::testing::append(*log,
                         log::testing::make_batch({.records = 2,
                                                   .timestamp = 1000 + n,
                                                   .producer = 4,
                                                   .sequence = n * 2,
                                                   .transactional = n % 3 == 0}),
                         n / 4, log::AppendOrigin::kReplication);
    if (n % 3 != 0) continue;
    log::testing::append(*log,
                         wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(4),
                                                     ProducerEpoch(0), false, 1, WallMs(1000)),
                         n / 4, log::AppendOrigin::kCoordinator);
  }
  if (clean) {
    EXPECT_TRUE(log->close());
  } else {
    EXPECT_TRUE(log->sync());
  }
  ByteBuffer input{static_cast<uint8_t>(clean ? 1 : 2)};
  constexpr std::string_view kNames[] = {".log", ".index", ".timeindex", ".txnindex", ".snapshot"};
  for (const io::DirEntry& e : disk.list("/data/t-0").value()) {
    uint8_t kind = e.name == "leader-epoch-checkpoint" ? 10 : 11;
    for (uint8_t n = 0; n < 5; n++) {
      if (e.name.ends_with(kNames[n])) kind = n;
    }
    auto file = disk.open("/data/t-0/" + e.name, io::OpenMode::kRead).value();
    ByteBuffer bytes(file->size().value());
    EXPECT_TRUE(file->read(0, MutableBytes(bytes)));
    uint8_t base = kind < 5 ? static_cast<uint8_t>(std::stoi(e.name.substr(0, 20))) : uint8_t{0};
    input.push_back(kind);
    input.push_back(base);
    input.push_back(static_cast<uint8_t>(bytes.size() >> 8));
    input.push_back(static_cast<uint8_t>(bytes.size() & 0xff));
    input.insert(input.end(), bytes.begin(), bytes.end());
  }
  return input;
}

TEST(FuzzReplay, LogRecovery) {
  sim::Rng rng(5);
  for (bool clean : {false, true}) {
    ByteBuffer seed = seed_input(clean);
    fuzz::log_recovery(seed);
    for (int round = 0; round < 4000; round++) {
      ByteBuffer input = seed;
      for (uint64_t changes = 1 + rng.below(4); changes > 0; changes--) {
        size_t at = rng.below(input.size());
        switch (rng.below(4)) {
          case 0:
            input[at] ^= static_cast<uint8_t>(1U << rng.below(8));
            break;
          case 1:
            input[at] = static_cast<uint8_t>(rng.next());
            break;
          case 2:
            input.erase(input.begin() + static_cast<ptrdiff_t>(at));
            break;
          default:
            input.insert(input.begin() + static_cast<ptrdiff_t>(at), uint8_t{0});
        }
      }
      fuzz::log_recovery(input);
    }
  }
}

}  // namespace
}  // namespace odradek
