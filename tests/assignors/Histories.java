// Histories of consumer groups, and what the assignors of Apache Kafka make of them: groups that members join and
// leave, whose subscriptions change, whose topics appear, grow and go. Each step is one case on standard output, in
// the form that cases.h reads.
//
//   java -cp "$KAFKA_DIR/libs/*" Histories.java SEED GROUPS STEPS [MEMBERS PARTITIONS]
//
// With MEMBERS and PARTITIONS groups start with so many members, and a topic has up to so many partitions.

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataDelta;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataImage;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.api.assignor.PartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.generated.ConsumerGroupTargetAssignmentMemberKey;
import org.apache.kafka.coordinator.group.generated.ConsumerGroupTargetAssignmentMemberValue;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.TargetAssignmentBuilder.ConsumerTargetAssignmentBuilder;
import org.apache.kafka.coordinator.group.modern.consumer.ConsumerGroupMember;
import org.apache.kafka.timeline.SnapshotRegistry;
import org.apache.kafka.timeline.TimelineHashMap;
import org.apache.kafka.common.utils.LogContext;

public class Histories {
  record Topic(String name, Uuid id, int partitionCount) implements CoordinatorMetadataImage.TopicMetadata {
    public List<String> partitionRacks(int partition) { return List.of(); }
  }

  /** The topics there are. */
  static class Image implements CoordinatorMetadataImage {
    final Map<String, Topic> topics = new TreeMap<>();

    public Set<Uuid> topicIds() { return topics.values().stream().map(Topic::id).collect(Collectors.toSet()); }
    public Set<String> topicNames() { return topics.keySet(); }
    public Optional<CoordinatorMetadataImage.TopicMetadata> topicMetadata(String name) {
      return Optional.ofNullable(topics.get(name));
    }
    public Optional<CoordinatorMetadataImage.TopicMetadata> topicMetadata(Uuid id) {
      return topics.values().stream().filter(t -> t.id().equals(id)).map(t -> (TopicMetadata) t).findFirst();
    }
    public CoordinatorMetadataDelta emptyDelta() { throw new UnsupportedOperationException(); }
    public long version() { return 1; }
    public boolean isEmpty() { return topics.isEmpty(); }
  }

  record Member(String id, String instance, List<String> topics) {}

  final Random random;
  final PrintWriter out;
  final Image image = new Image();
  final Map<String, Member> members = new LinkedHashMap<>();
  // As read from the records, and as the records had it.
  final Map<String, Assignment> targets = new HashMap<>();
  final Map<String, String> records = new HashMap<>();
  final PartitionAssignor assignor;
  final boolean mixed;
  final int mostMembers, mostPartitions;
  int named = 0;
  List<String> common = List.of();

  Histories(Random random, PrintWriter out, int members, int partitions) {
    this.random = random;
    this.out = out;
    assignor = random.nextInt(5) == 0 ? new RangeAssignor() : new UniformAssignor();
    mixed = random.nextBoolean();
    mostMembers = members > 0 ? members : new int[] {4, 8, 20, 60}[random.nextInt(4)];
    mostPartitions = partitions > 0 ? partitions : new int[] {3, 12, 50, 200}[random.nextInt(4)];
  }

  Uuid uuid() { return new Uuid(random.nextLong(), random.nextLong()); }

  String memberId() {
    named++;
    switch (random.nextInt(4)) {
      case 0: return uuid().toString();
      case 1: return "m" + named;
      case 2: return "consumer-group-" + named + "-" + new UUID(random.nextLong(), random.nextLong());
      default: return new String[] {"\uFF21", "\uD83D\uDE00", "\u00E4", "Aa", "BB"}[random.nextInt(5)] + random.nextInt(1000) + "." + named;
    }
  }

  void newTopic() {
    String name = "topic-" + named++ + (random.nextBoolean() ? "" : "." + random.nextInt(100000));
    image.topics.put(name, new Topic(name, uuid(), 1 + random.nextInt(mostPartitions)));
  }

  List<String> subscription() {
    if (!mixed && random.nextInt(50) != 0) return common;
    List<String> names = new ArrayList<>(image.topics.keySet());
    if (random.nextInt(20) == 0) names.add("ghost");
    Collections.shuffle(names, random);
    return List.copyOf(names.subList(0, random.nextInt(names.size() + 1)));
  }

  /** What happens to the topics. */
  void changeTopics() {
    List<String> names = new ArrayList<>(image.topics.keySet());
    int what = random.nextInt(12);
    if (what == 0 || names.isEmpty()) {
      newTopic();
    } else if (what == 1) {
      Topic t = image.topics.get(names.get(random.nextInt(names.size())));
      image.topics.put(t.name(), new Topic(t.name(), t.id(), t.partitionCount() + 1 + random.nextInt(5)));
    } else if (what == 2 && names.size() > 1) {
      image.topics.remove(names.get(random.nextInt(names.size())));
    }
    if (what <= 2 && !mixed) {
      List<String> all = new ArrayList<>(image.topics.keySet());
      Collections.shuffle(all, random);
      common = List.copyOf(all);
      members.replaceAll((id, m) -> new Member(id, m.instance(), random.nextInt(40) == 0 ? subscription() : common));
    }
  }

  void leave(String id) {
    members.remove(id);
    targets.remove(id);
    records.remove(id);
  }

  /** What happens to the members. Returns the one that joins or asks, which is the last that Apache adds. */
  Member changeMembers() {
    int gone = random.nextInt(3) == 0 ? random.nextInt(1 + members.size() / 3) : 0;
    for (int i = 0; i < gone; i++) leave(any());
    boolean joins = members.isEmpty() || (members.size() < mostMembers && random.nextInt(10) < 7);
    if (joins) {
      String id = memberId();
      return new Member(id, random.nextInt(4) == 0 ? "i" + random.nextInt(1000) + "." + named : null, subscription());
    }
    Member one = members.get(any());
    if (one.instance() != null && random.nextBoolean()) {  // it comes back under another id
      String id = memberId();
      if (targets.containsKey(one.id())) {
        targets.put(id, targets.get(one.id()));
        records.put(id, records.get(one.id()));
      }
      leave(one.id());
      return new Member(id, one.instance(), one.topics());
    }
    return random.nextInt(3) == 0 ? new Member(one.id(), one.instance(), subscription()) : one;
  }

  String any() { return new ArrayList<>(members.keySet()).get(random.nextInt(members.size())); }

  static ConsumerGroupMember made(Member m) {
    return new ConsumerGroupMember.Builder(m.id()).setInstanceId(m.instance()).setSubscribedTopicNames(m.topics()).build();
  }

  static Map<Uuid, Map<Integer, String>> inverted(Map<String, Assignment> targets) {
    Map<Uuid, Map<Integer, String>> out = new HashMap<>();
    targets.forEach((id, a) -> a.partitions().forEach((topic, partitions) ->
        partitions.forEach(p -> out.computeIfAbsent(topic, __ -> new HashMap<>()).put(p, id))));
    return out;
  }

  void print(Member m, boolean isNew) {
    String ids = m.topics().stream()
        .map(t -> image.topics.containsKey(t) ? image.topics.get(t).id().toString() : Uuid.ZERO_UUID.toString())
        .collect(Collectors.joining(","));
    out.println("member " + m.id() + " " + (m.instance() == null ? "-" : m.instance()) + " " + (isNew ? "new" : "held") +
                " " + (ids.isEmpty() ? "-" : ids));
    if (records.containsKey(m.id())) out.println("had" + records.get(m.id()));
  }

  void step(int number) {
    changeTopics();
    Member asks = changeMembers();
    boolean isNew = !members.containsKey(asks.id());

    var type = SubscriptionType.HOMOGENEOUS;
    for (Member m : members.values())
      if (!m.id().equals(asks.id()) && !Set.copyOf(m.topics()).equals(Set.copyOf(asks.topics()))) type = SubscriptionType.HETEROGENEOUS;

    out.println("case " + number + " " + assignor.name() + " " + (type == SubscriptionType.HOMOGENEOUS ? "same" : "mixed"));
    image.topics.values().forEach(t -> out.println("topic " + t.id() + " " + t.partitionCount() + " " + t.name()));
    members.values().forEach(m -> print(m.id().equals(asks.id()) ? asks : m, false));
    if (isNew) print(asks, true);

    var held = new TimelineHashMap<String, ConsumerGroupMember>(new SnapshotRegistry(new LogContext()), 0);
    members.values().forEach(m -> held.put(m.id(), made(m)));
    // What a static member had is found by its instance; here it has it already.
    var result = new ConsumerTargetAssignmentBuilder("group", number, assignor)
        .withMembers(held).withStaticMembers(Map.of()).withSubscriptionType(type).withTargetAssignment(targets)
        .withInvertedTargetAssignment(inverted(targets)).withMetadataImage(image)
        .withTime(org.apache.kafka.common.utils.Time.SYSTEM)
        .addOrUpdateMember(asks.id(), made(asks)).build();
    members.put(asks.id(), asks);
    for (CoordinatorRecord record : result.records()) {
      if (!(record.key() instanceof ConsumerGroupTargetAssignmentMemberKey key)) continue;
      var value = (ConsumerGroupTargetAssignmentMemberValue) record.value().message();
      String text = value.topicPartitions().stream().map(t -> " " + t.topicId() + ":" +
          t.partitions().stream().map(String::valueOf).collect(Collectors.joining(","))).collect(Collectors.joining());
      out.println("got " + key.memberId() + text);
      targets.put(key.memberId(), Assignment.fromRecord(value));
      records.put(key.memberId(), text);
    }
    out.println("end");
  }

  public static void main(String[] args) {
    long seed = Long.parseLong(args[0]);
    int groups = Integer.parseInt(args[1]), steps = Integer.parseInt(args[2]), number = 0;
    int members = args.length > 3 ? Integer.parseInt(args[3]) : 0, partitions = args.length > 4 ? Integer.parseInt(args[4]) : 0;
    try (var out = new PrintWriter(System.out, false, StandardCharsets.UTF_8)) {
      for (int g = 0; g < groups; g++) {
        var history = new Histories(new Random(seed * 1_000_003 + g), out, members, partitions);
        int topics = 1 + history.random.nextInt(history.random.nextBoolean() ? 4 : 25);
        for (int t = 0; t < topics; t++) history.newTopic();
        history.common = List.copyOf(history.image.topics.keySet());
        for (int m = 0; m < members; m++) {
          String id = history.memberId();
          history.members.put(id, new Member(id, null, history.subscription()));
        }
        for (int s = 0; s < steps; s++) history.step(number++);
      }
    }
  }
}
