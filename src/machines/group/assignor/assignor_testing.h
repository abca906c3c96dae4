// Cases of the assignors as text, with Apache's answer: for the unit test and for tests/assignors,
// which makes them. A case:
//
//   case NUMBER uniform|range same|mixed
//   topic ID PARTITIONS NAME                      the topics there are
//   member ID INSTANCE|- held|new ID,ID,…|-       what it subscribes to
//   had ID:0,1,2 ID:3 …                           the record of its target, if there is one
//   got MEMBER ID:0,1 …                           the records of the new targets, in order
//   end
#pragma once

#include <algorithm>
#include <charconv>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "machines/group/assignor/assignor.h"

namespace odradek::machines::group::assignor::testing {

inline Assignment sorted(Assignment a) {
  std::ranges::sort(a, {}, &TopicPartitions::topic);
  for (TopicPartitions& t : a) std::ranges::sort(t.partitions);
  return a;
}

class Case {
 public:
  /// Takes a line; true when the case is complete.
  bool read(std::string_view line) {
    const std::vector<std::string_view> words = split(line, ' ');
    const std::string_view what = words[0];
    if (what == "case") {
      head_ = line;
      kind_ = *kind(words[2]);
      group_.homogeneous = words[3] == "same";
    } else if (what == "topic") {
      topics_[*Uuid::parse(words[1])] = {std::string(words[3]), number(words[2])};
    } else if (what == "member") {
      Member& member = group_.members.emplace_back(ids_.emplace_back(words[1]));
      if (words[2] != "-") member.instance = ids_.emplace_back(words[2]);
      member.is_new = words[3] == "new";
      std::vector<Uuid>& topics = subscriptions_.emplace_back();
      if (words[4] != "-")
        for (std::string_view id : split(words[4], ',')) topics.push_back(*Uuid::parse(id));
      member.topics = topics;
    } else if (what == "had") {
      Assignment& had = had_.emplace_back();
      for (size_t i = 1; i < words.size(); i++) had.push_back(topic_partitions(words[i]));
      group_.members.back().assigned = &had;
    } else if (what == "got") {
      expected_ += std::string(line) + "\n";
    }
    return what == "end";
  }

  Target target() const { return assign(kind_, group_, topics_); }
  const std::string& head() const { return head_; }
  /// Apache's records, and ours.
  const std::string& expected() const { return expected_; }
  std::string records() const {
    const Target made = target();
    std::string out;
    for (uint32_t i : made.order) {
      const Member& member = group_.members[i];
      if (member.assigned != nullptr && sorted(*member.assigned) == sorted(made.assignments[i]))
        continue;
      out += "got " + std::string(member.id);
      for (const auto& [topic, partitions] : made.assignments[i]) {
        char before = ':';
        out += " " + topic.to_string();
        for (int32_t p : partitions) out += std::exchange(before, ',') + std::to_string(p);
      }
      out += "\n";
    }
    return out;
  }

 private:
  static std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> out;
    for (size_t end = 0; end != std::string_view::npos; text.remove_prefix(end + 1)) {
      end = text.find(at);
      out.push_back(text.substr(0, end));
      if (end == std::string_view::npos) break;
    }
    return out;
  }
  static int32_t number(std::string_view text) {
    int32_t out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out);
    return out;
  }
  static TopicPartitions topic_partitions(std::string_view text) {
    const size_t colon = text.find(':');
    TopicPartitions out{*Uuid::parse(text.substr(0, colon)), {}};
    for (std::string_view p : split(text.substr(colon + 1), ','))
      out.partitions.push_back(number(p));
    return out;
  }

  std::string head_, expected_;
  Kind kind_{};
  Group group_;
  Topics topics_;
  std::deque<std::string> ids_;
  std::deque<std::vector<Uuid>> subscriptions_;
  std::deque<Assignment> had_;
};

}  // namespace odradek::machines::group::assignor::testing
