// The fuzz targets as an ordinary test: every prefix of every golden vector, and a fixed number of
// deterministic mutations of them. Under asan this is the proof that bad input does no harm; the
// long search is libFuzzer's (preset fuzz).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/targets.h"
#include "golden/vectors.h"
#include "wire/json.h"
#include "wire/reader.h"

namespace odradek {
namespace {

using golden::from_hex;
using golden::load_vectors;
using golden::number;
using golden::text;

/// xorshift64*: the same numbers on every run.
class Numbers {
 public:
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 2685821657736338717ULL;
  }
  size_t below(size_t n) { return n == 0 ? 0 : static_cast<size_t>(next() % n); }

 private:
  uint64_t state_ = 88172645463325252ULL;
};

/// Changes one to four places.
void mutate(ByteBuffer& b, Numbers& numbers) {
  static constexpr std::array<uint32_t, 8> kInteresting = {
      0, 1, 0x7f, 0x80, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
  const size_t changes = 1 + numbers.below(4);
  for (size_t i = 0; i < changes && !b.empty(); i++) {
    const size_t at = numbers.below(b.size());
    switch (numbers.below(6)) {
      case 0:
        b[at] ^= static_cast<uint8_t>(1U << numbers.below(8));
        break;
      case 1:
        b[at] = static_cast<uint8_t>(numbers.next());
        break;
      case 2:
        b.insert(b.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(numbers.next()));
        break;
      case 3:
        b.erase(b.begin() + static_cast<ptrdiff_t>(at));
        break;
      case 4:
        if (at + 4 <= b.size()) store_be(b.data() + at, kInteresting[numbers.below(8)]);
        break;
      default:
        b.resize(at);
    }
  }
}

using Target = void (*)(ByteView);

/// Runs `count` mutations of the seeds through a target.
void run_mutations(Target target, const std::vector<ByteBuffer>& seeds, size_t count) {
  ASSERT_FALSE(seeds.empty());
  Numbers numbers;
  for (size_t i = 0; i < count; i++) {
    ByteBuffer input = seeds[i % seeds.size()];
    mutate(input, numbers);
    target(input);
  }
}

/// Inputs of fuzz::message for the vectors of a file.
std::vector<ByteBuffer> message_seeds(const std::string& file) {
  std::vector<ByteBuffer> out;
  const auto all = wire::all_messages();
  for (const auto& v : load_vectors(file)) {
    const wire::MessageInfo* info = wire::find_message(text(v, "name"));
    const auto index = static_cast<uint16_t>(std::find(all.begin(), all.end(), info) - all.begin());
    ByteBuffer input(3);
    store_be(input.data(), index);
    input[2] = static_cast<uint8_t>(number(v, "version") - info->min);
    const ByteBuffer body = from_hex(text(v, "hex"));
    input.insert(input.end(), body.begin(), body.end());
    out.push_back(std::move(input));
  }
  return out;
}

/// The bytes of the batches, behind each of the given first bytes.
std::vector<ByteBuffer> batch_seeds(const std::vector<uint8_t>& first) {
  std::vector<ByteBuffer> out;
  for (const auto& v : load_vectors("batches.jsonl.gz")) {
    const ByteBuffer bytes = from_hex(text(v, "hex"));
    if (bytes.size() > 20'000) continue;
    if (first.empty()) out.push_back(bytes);
    for (const uint8_t b : first) {
      ByteBuffer input{b};
      input.insert(input.end(), bytes.begin(), bytes.end());
      out.push_back(std::move(input));
    }
  }
  return out;
}

TEST(FuzzReplay, EveryPrefixOfEveryMessageIsRefused) {
  size_t tried = 0;
  for (const char* file : {"messages.jsonl.gz", "records.jsonl.gz"}) {
    for (const auto& v : load_vectors(file)) {
      const wire::MessageInfo& info = *wire::find_message(text(v, "name"));
      const auto version = static_cast<int16_t>(number(v, "version"));
      const ByteBuffer whole = from_hex(text(v, "hex"));
      // Copied to its own memory, so that asan sees a read behind the end.
      const size_t step = whole.size() > 600 ? whole.size() / 300 : 1;
      for (size_t n = 0; n < whole.size(); n += step) {
        const ByteBuffer part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
        Arena arena;
        wire::Reader r(part, arena);
        ASSERT_FALSE(info.decode(info.make(arena), r, version))
            << info.name << ' ' << version << ' ' << n;
        tried++;
      }
    }
  }
  EXPECT_GT(tried, 100'000U);
}

TEST(FuzzReplay, EveryPrefixOfEveryBatch) {
  for (const ByteBuffer& whole : batch_seeds({})) {
    const size_t step = whole.size() > 1000 ? whole.size() / 500 : 1;
    for (size_t n = 0; n < whole.size(); n += step) {
      ByteBuffer part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
      fuzz::batches(part);
      part.insert(part.begin(), 1);
      fuzz::validator(part);
    }
  }
}

TEST(FuzzReplay, Messages) {
  run_mutations(fuzz::message, message_seeds("messages.jsonl.gz"), 60'000);
  run_mutations(fuzz::message, message_seeds("records.jsonl.gz"), 20'000);
}

TEST(FuzzReplay, FramedRecords) {
  std::vector<ByteBuffer> seeds;
  for (const auto& v : load_vectors("records.jsonl.gz"))
    if (v.contains("framed") && text(v, "domain") == "metadata")
      seeds.push_back(from_hex(text(v, "framed")));
  run_mutations(fuzz::framed_record, seeds, 20'000);
}

TEST(FuzzReplay, Batches) { run_mutations(fuzz::batches, batch_seeds({}), 20'000); }

TEST(FuzzReplay, Validator) {
  run_mutations(fuzz::validator, batch_seeds({0, 1, 3, 5, 9}), 30'000);
}

TEST(FuzzReplay, Decompression) {
  const std::array<Target, 5> targets = {nullptr, fuzz::gzip, fuzz::snappy, fuzz::lz4, fuzz::zstd};
  std::array<std::vector<ByteBuffer>, 5> seeds;
  for (const auto& v : load_vectors("batches.jsonl.gz")) {
    const ByteBuffer bytes = from_hex(text(v, "hex"));
    if (bytes.size() > 5'000 || bytes.size() < 62) continue;
    seeds[bytes[22] & 7].emplace_back(bytes.begin() + 61, bytes.end());
  }
  for (size_t codec = 1; codec < targets.size(); codec++)
    run_mutations(targets[codec], seeds[codec], 4'000);
}

/// Every file of the committed corpora, and mutations of it: the fuzzers' targets that have no
/// vectors of their own.
TEST(FuzzReplay, Corpora) {
  const std::pair<const char*, Target> all[] = {{"request", fuzz::request},
                                                {"group_records", fuzz::group_records},
                                                {"log_recovery", fuzz::log_recovery},
                                                {"index_files", fuzz::index_files},
                                                {"checkpoint_files", fuzz::checkpoint_files},
                                                {"metadata_snapshot", fuzz::metadata_snapshot},
                                                {"config", fuzz::config}};
  for (const auto& [name, target] : all) {
    std::vector<ByteBuffer> seeds;
    for (const auto& e :
         std::filesystem::directory_iterator(std::string(FUZZ_CORPUS) + "/" + name)) {
      std::ifstream file(e.path(), std::ios::binary);
      seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    std::sort(seeds.begin(), seeds.end());
    for (const ByteBuffer& seed : seeds) target(seed);
    run_mutations(target, seeds, 3'000);
  }
}

}  // namespace
}  // namespace odradek
