#include "machines/group/topic_regex.h"

#include <re2/re2.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace odradek::machines::group {

namespace {

/// Name of a group that begins here, behind `(?P<` or `(?<`; nothing: there is none.
std::optional<std::string_view> group_name(std::string_view text) {
  if (text.starts_with("(?P<")) {
    text.remove_prefix(4);
  } else if (text.starts_with("(?<") && !text.starts_with("(?<=") && !text.starts_with("(?<!")) {
    text.remove_prefix(3);
  } else {
    return std::nullopt;
  }
  return text.substr(0, text.find('>'));
}

/// Where the two libraries differ: ours takes `\C` (any byte) and two groups of one name; Java's
/// takes
/// `(?<name>…)` for a group, which ours spells `(?P<name>…)`, and a backslash before any letter
/// that is not of ASCII. Nothing: refused. Beside that only the size of a program is limited here.
std::optional<std::string> translated(std::string_view expression) {
  std::string out;
  std::set<std::string_view> names;
  bool quoted = false;  // between \Q and \E
  for (size_t i = 0; i < expression.size(); i++) {
    const std::string_view rest = expression.substr(i);
    if (quoted) {
      quoted = !rest.starts_with("\\E");
      out += rest[0];
    } else if (rest[0] == '\\' && rest.size() > 1) {
      if (rest[1] == 'C') return std::nullopt;
      if (static_cast<uint8_t>(rest[1]) >= 0x80) continue;
      quoted = rest[1] == 'Q';
      out += rest.substr(0, 2);
      i++;
    } else if (const auto name = group_name(rest)) {
      if (!names.insert(*name).second) return std::nullopt;
      out += "(?P<";
      i += rest[2] == 'P' ? 3 : 2;
    } else {
      out += rest[0];
    }
  }
  return out;
}

std::unique_ptr<re2::RE2> compile(std::string_view expression) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_never_capture(false);  // names of groups are checked
  const std::optional<std::string> text = translated(expression);
  if (!text) return nullptr;
  return std::make_unique<re2::RE2>(*text, options);
}

}  // namespace

Result<void> check_regex(std::string_view expression) {
  const auto regex = compile(expression);
  if (!regex) return fail(Errc::kInvalid, "\\C, or two groups of one name");
  if (!regex->ok()) return fail(Errc::kInvalid, regex->error());
  return {};
}

std::map<std::string, TopicNames, std::less<>> resolve_regexes(
    const std::vector<std::string>& expressions, const metadata::Image& image) {
  std::map<std::string, TopicNames, std::less<>> out;
  std::vector<std::pair<std::unique_ptr<re2::RE2>, TopicNames*>> compiled;
  for (const std::string& e : expressions) {
    TopicNames& topics = out[e];
    auto regex = compile(e);
    if (regex && regex->ok()) compiled.emplace_back(std::move(regex), &topics);
  }
  image.for_each_topic([&](const metadata::TopicPtr& topic) {
    for (auto& [regex, topics] : compiled) {
      if (re2::RE2::FullMatch(topic->name, *regex)) topics->insert(topic->name);
    }
  });
  return out;
}

}  // namespace odradek::machines::group
