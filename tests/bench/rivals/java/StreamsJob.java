package liveshop.bench;

import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Counts by session and 1-minute window, each window written once when it is closed; exactly once, a commit each second.
 *
 * <p>State as the DSL does it by default: RocksDB under a write cache, and a changelog topic. Arguments: brokers, group,
 * output topic, folder for the state, threads, input topics.
 */
public final class StreamsJob {
    private static final Serde<Event> EVENT = Serdes.serdeFrom((topic, event) -> {
        throw new UnsupportedOperationException("events are only read");
    }, (topic, bytes) -> Event.parse(bytes));
    private static final Serde<Counts> COUNTS = Serdes.serdeFrom(
        (topic, counts) -> counts == null ? null : counts.toBytes(),
        (topic, bytes) -> bytes == null ? null : Counts.fromBytes(bytes));

    private StreamsJob() { }

    public static void main(String[] arguments) {
        List<String> inputs = List.of(arguments).subList(5, arguments.length);
        StreamsBuilder builder = new StreamsBuilder();
        builder
            .stream(inputs, Consumed.with(Serdes.String(), EVENT)
                .withTimestampExtractor((record, before) -> ((Event) record.value()).time))
            .groupByKey(Grouped.with(Serdes.String(), EVENT))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofSeconds(10)))
            .aggregate(Counts::new, (session, event, counts) -> counts.add(event),
                Materialized.with(Serdes.String(), COUNTS))
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
            .toStream()
            .map((window, counts) -> KeyValue.pair(window.key(), counts.toJson(window.key(), window.window().start())))
            .to(arguments[2], Produced.with(Serdes.String(), Serdes.ByteArray()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings(arguments));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    private static Properties settings(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[3]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[4]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return settings;
    }
}
