// Expressions that consumers subscribe with, and the hash of the topics that they mean: as Apache's
// own code answered.
#include "machines/group/topic_regex.h"

#include <gtest/gtest.h>

#include "machines/group/group_testing.h"
#include "machines/group/metadata_hash.h"

namespace odradek::machines::group {
namespace {

constexpr const char* kNames[] = {"t", "ta", "T", "t.a", "t-1", "a_b", "tt", "x", "topic", "t\\"};

struct Case {
  const char* expression;
  const char* matches;  // of kNames; empty: refused
};
// What com.google.re2j 1.8 made of each.
constexpr Case kCases[] = {
    {"t.*", "1101101011"},
    {"(?<n>t)", "1000000000"},
    {"(?P<n>t)", "1000000000"},
    {"(?<n>t)(?<n>t)", ""},
    {"(?<=t)a", ""},
    {"(?<!t)a", ""},
    {"(?=t)t", ""},
    {"(?!a)t", ""},
    {"\\Ct", ""},
    {"t\\C", ""},
    {"[\\C]", ""},
    {"\\Qt.a\\E", "0001000000"},
    {"\\Qt.a", "0001000000"},
    {"\\Q\\C\\E", "0000000000"},
    {"a**", ""},
    {"a*+", ""},
    {"a++", ""},
    {"a{2}{3}", ""},
    {"a{1001}", ""},
    {"a{1000}", "0000000000"},
    {"\\1", ""},
    {"\\pL+", "1110001110"},
    {"\\p{Greek}", "0000000000"},
    {"\\p{Lu}", "0010000000"},
    {"\\p{IsAlphabetic}", ""},
    {"\\P{L}", "0000000000"},
    {"[[:alpha:]]+", "1110001110"},
    {"[[:foo:]]", ""},
    {"[^a]", "1010000100"},
    {"[z-a]", ""},
    {"(?i)T", "1010000000"},
    {"(?s).", "1010000100"},
    {"(?x)t", ""},
    {"(?U)t*", "1000001000"},
    {"(?m)^t$", "1000000000"},
    {"^t$", "1000000000"},
    {"\\At\\z", "1000000000"},
    {"\\At\\Z", ""},
    {"\\bt\\b", "1000000000"},
    {"\\Bt", "0000000000"},
    {"\\d", "0000000000"},
    {"\\D", "1010000100"},
    {"\\h", ""},
    {"\\v", "0000000000"},
    {"\\x41", "0000000000"},
    {"\\x{41}", "0000000000"},
    {"\\x{110000}", ""},
    {"\\u0041", ""},
    {"\\cA", ""},
    {"\\e", ""},
    {"\\a", "0000000000"},
    {"\\0", "0000000000"},
    {"\\07", "0000000000"},
    {"\\8", ""},
    {"(", ""},
    {")", ""},
    {"(?", ""},
    {"(?P", ""},
    {"(?P<", ""},
    {"(?P<a", ""},
    {"(?P=n)", ""},
    {"(?>t)", ""},
    {"(?#c)t", ""},
    {"t|", "1000000000"},
    {"|t", "1000000000"},
    {"||", "0000000000"},
    {"", "0000000000"},
    {"[]", ""},
    {"[]a]", "0000000000"},
    {"[a-\\d]", ""},
    {"[a&&b]", "0000000000"},
    {"t?+", ""},
    {"t??", "1000000000"},
    {"{", "0000000000"},
    {"}", "0000000000"},
    {"t{", "0000000000"},
    {"t{,2}", "0000000000"},
    {"t{2,1}", ""},
    {"t{a}", "0000000000"},
    {"\\", ""},
    {"\\_", "0000000000"},
    {"\\-", "0000000000"},
    {"\\é", "0000000000"},
    {"é", "0000000000"},
    {".{3}", "0001110000"},
    {"[t-]", "1000000000"},
    {"(?:t)", "1000000000"},
    {"(?i:T)", "1010000000"},
    {"(?-i)t", "1000000000"},
    {"(?flag)t", ""},
    {"\\pN", "0000000000"},
    {"\\pZ", "0000000000"},
    {"\\p{Any}", "1010000100"},
    {"\\p{^L}", "0000000000"},
    {"\\p{L", ""},
    {"\\pé", ""},
    {"\\Z", ""},
    {"\\G", ""},
    {"\\K", ""},
    {"\\R", ""},
    {"\\X", ""},
    {"\\N", ""},
    {"[\\d-z]", "0000000000"},
    {"[[=a=]]", "0000000000"},
    {"(t){0}", "0000000000"},
    {"(t){2,}", "0000001000"},
    {"(?<n-1>t)", ""},
    {"(?<1n>t)", "1000000000"},
    {"(?P<1n>t)", "1000000000"},
    {"(?<>t)", ""},
    {"$t^", "0000000000"},
};

TEST(TopicRegex, AcceptsAndMatchesAsApachesLibrary) {
  std::vector<std::pair<std::string, int32_t>> topics;
  for (const char* name : kNames) topics.emplace_back(name, 1);
  const auto image = image_of(topics, 1);
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.expression);
    const bool accepted = check_regex(c.expression).has_value();
    EXPECT_EQ(accepted, *c.matches != 0);
    const TopicNames found = resolve_regexes({c.expression}, *image).at(c.expression);
    std::string matches;
    for (const char* name : kNames) matches += found.contains(name) ? '1' : '0';
    EXPECT_EQ(matches, accepted ? c.matches : "0000000000");
  }
}

TEST(MetadataHash, IsApaches) {
  auto image = std::make_shared<metadata::Image>(*image_of({{"t", 2}}, 1));
  auto topic = std::make_shared<metadata::Topic>();
  topic->name = "u";
  topic->id = Uuid{1, 2};
  metadata::Partition partition;
  for (int32_t id = 1; id <= 5; id++) partition.replicas.push_back(BrokerId(id));
  topic->partitions.push_back(std::make_shared<const metadata::Partition>(partition));
  image->topics_by_name.set(metadata::next_edit_token(), topic);
  // Racks are taken in the order of their UTF-16 units; a broker without one does not count.
  const std::optional<std::string> racks[] = {"rack-b", "\xF0\x9F\x98\x80", "\xEF\xBF\xAE",
                                              std::nullopt};
  for (int32_t id = 2; id <= 5; id++) {
    auto broker = std::make_shared<metadata::Broker>();
    broker->rack = racks[id - 2];
    image->brokers[BrokerId(id)] = broker;
  }
  EXPECT_EQ(metadata_hash({"t"}, *image), 7253690276500789660);
  EXPECT_EQ(metadata_hash({"t", "u", "none"}, *image), -6379766721747773005);
  EXPECT_EQ(metadata_hash({"none"}, *image), 0);
}

}  // namespace
}  // namespace odradek::machines::group
